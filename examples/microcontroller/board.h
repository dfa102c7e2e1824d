/* The little that a program without an operating system needs, on Cortex-M and RISC-V under QEMU. */
#ifndef BOARD_H
#define BOARD_H

#include <stdint.h>

/* A clock that counts up, and how many instructions are executed in one of its steps under `qemu -icount shift=0`,
   where an instruction takes a nanosecond. */
uint32_t board_clock(void);
#ifndef BOARD_INSTRUCTIONS
#define BOARD_INSTRUCTIONS 1
#endif

void board_print(const char *text);
void board_print_number(int32_t number);

#endif
