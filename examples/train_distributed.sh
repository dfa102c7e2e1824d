#!/bin/sh
# Train in several processes, on one machine or several.
#
#   examples/train_distributed.sh                                    the baseline on MNIST, in two processes
#   examples/train_distributed.sh --recipe best --out runs/best      whatever `lenet-zoo train lenet5_modern` takes
#   PROCESSES=8 examples/train_distributed.sh --out runs/eight       eight of them; where there are GPUs, one on each
#
# Several machines: the same on each of them, with their number and the address of one. The processes find each other
# there, the first of them writes the folder; data and package must be on all.
#
#   MACHINES=2 MEET=first-machine:29500 PROCESSES=8 examples/train_distributed.sh --recipe best --out runs/best
#
# After a failure the same line goes on where the run was, also with another number of processes.
set -eu

[ $# -gt 0 ] || set -- --recipe baseline --out runs/distributed --download
if [ "${MACHINES:-1}" -gt 1 ]; then
    meeting="--nnodes $MACHINES --rdzv-backend c10d --rdzv-id lenet-zoo --rdzv-endpoint ${MEET:?give MEET=host:port}"
else
    meeting=--standalone
fi
# Threads of each process: all cores are in use already when there are as many processes.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"

# shellcheck disable=SC2086  # `meeting` is several words
exec torchrun $meeting --nproc-per-node "${PROCESSES:-2}" -m lenet_zoo train lenet5_modern --resume "$@"
