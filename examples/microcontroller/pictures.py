"""python pictures.py N > pictures.h: the first N of the MNIST pictures that travel with lenet_zoo, as C."""

import sys

from lenet_zoo.export.calibration import bundled

pictures = bundled()[: int(sys.argv[1])]
print(f"#include <stdint.h>\n#define PICTURES {len(pictures)}\nstatic const uint8_t pictures[PICTURES][784] = {{")
for picture in pictures:
    print("    {" + ",".join(map(str, picture.ravel())) + "},")
print("};")
