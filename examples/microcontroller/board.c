#include "board.h"

int main(void);
void reset(void);

extern const uint32_t data_in_flash[];
extern uint32_t data_start[], data_end[], bss_start[], bss_end[], stack_end[];

/* Semihosting: the debugger, here QEMU, prints and ends the program. */
static void host(int operation, const void *argument)
{
#if defined(__riscv)
    register int a0 __asm__("a0") = operation;
    register const void *a1 __asm__("a1") = argument;
    __asm__ volatile(".option push\n.option norvc\n.balign 16\n"
                     "slli zero, zero, 0x1f\nebreak\nsrai zero, zero, 7\n.option pop"
                     : "+r"(a0)
                     : "r"(a1)
                     : "memory");
#else
    register int r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
#endif
}

void board_print(const char *text) { host(0x04, text); }

void board_print_number(int32_t number)
{
    char text[13];
    char *at = text + sizeof text - 1;
    uint32_t rest = number < 0 ? 0u - (uint32_t)number : (uint32_t)number;
    *at = 0;
    do {
        *--at = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest);
    if (number < 0) *--at = '-';
    *--at = ' ';
    board_print(at);
}

static void start(void)
{
    const uint32_t *from = data_in_flash;
    uint32_t *word;
    for (word = data_start; word < data_end; word++) *word = *from++;
    for (word = bss_start; word < bss_end; word++) *word = 0;
    main();
    host(0x18, (const void *)0x20026); /* ended by itself */
    for (;;) {
    }
}

#if defined(__riscv)

uint32_t board_clock(void)
{
    uint32_t count;
    __asm__ volatile(".option push\n.option arch, +zicsr\ncsrr %0, minstret\n.option pop" : "=r"(count));
    return count;
}

/* No function: there is no stack yet. */
__asm__(".section .vectors, \"ax\"\n.globl reset\nreset:\nla sp, stack_end\nj begin\n.text");
void begin(void);
void begin(void) { start(); }

#else

#define SYSTICK ((volatile uint32_t *)0xe000e010u)

/* The SysTick timer counts down in 24 bits. */
uint32_t board_clock(void)
{
    static uint32_t whole, last;
    const uint32_t now = SYSTICK[2];
    whole += (last - now) & 0xffffffu;
    last = now;
    return whole;
}

void reset(void)
{
#if defined(__ARM_FP)
    *(volatile uint32_t *)0xe000ed88u |= 0xfu << 20; /* the floating point unit is off after a reset */
    __asm__ volatile("dsb\nisb");
#endif
    SYSTICK[1] = 0xffffffu;
    SYSTICK[2] = 0;
    SYSTICK[0] = 5;
    start();
}

static void fault(void)
{
    board_print("fault\n");
    host(0x18, (const void *)0x20023); /* ended by an error */
    for (;;) {
    }
}

__attribute__((section(".vectors"), used)) static void *const vectors[16] = {
    stack_end, (void *)reset, (void *)fault, (void *)fault, (void *)fault, (void *)fault, (void *)fault,
};

#endif
