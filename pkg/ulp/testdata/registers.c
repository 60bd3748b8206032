/* Only the attribute leaves -fipa-ra on: callers of the same file keep values in registers that callee leaves alone. */
#define NOPS __attribute__((noinline, patchable_function_entry(16, 14)))

static int table[64];

NOPS static int callee(int a) { return table[a & 63] * 3; }
NOPS static int other(int a) { asm("" ::: "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11"); return table[a & 63] * 5; }
NOPS static void ends(int a) { for (;;) table[a & 63]++; }

long keeps(long *p, long q, int a) { long r = callee(a); return r + p[q]; }
long saves(long *p, long q, int a) { long r = other(a); return r + p[q]; }
long calls(long *p, long q, int a) { if (a) ends(a); return p[q]; }

/* One call further away: what middle calls is known, too. */
NOPS static int inner(int a) { return table[a & 63] * 7; }
NOPS static int middle(int a) { return inner(a + 1) + 1; }
long far(long *p, long q, int a) { long r = middle(a); return r + p[q]; }

/* A function without a result leaves even the registers for results alone. */
NOPS static void sets(int a) { table[a & 63] = 3; }
long result(long a) { sets(a); return a; }
