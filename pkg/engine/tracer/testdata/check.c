/* Threads that hold a known value in every register, spin, and look whether they still hold it. The first wrong value ends
   the process with a code that says which kind it was. Usage: check COUNTERS THREADS [spin|pause|handler|catch], COUNTERS being a
   file of 8 bytes per thread that is mapped and counted up. With pause, each round sleeps 1 ms (20 if there are many threads); with handler, the first
   thread does all this in a signal handler on an alternate stack; with catch, there are handlers for those signals that are
   ignored by default, and each of them ends the process; with wait, each round waits in several system calls for 1 ms
   each; with setuid and chroot, that was done before;
   with tiles, matrices (AMX) and rights to protection keys are held, too, as far as the machine has them; with nokeys, all such rights are; with coroutine, the first thread does it on a stack that ends in the middle of other data. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <ucontext.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { GENERAL = 101, VECTOR, MASK, X87, MXCSR, FLAGS, REDZONE, ALTSTACK, SIGNALS, SLEEP, WAIT, NEIGHBOUR, TILES, KEYS };

struct state { /* offsets are used in the assembly */
	uint8_t vector[32 * 64];  /* 0 */
	uint64_t mask[8];         /* 2048 */
	uint8_t x87[8 * 16];      /* 2112 */
	uint32_t mxcsr, unused;   /* 2240 */
	uint64_t general[16];     /* 2248 */
	uint8_t redzone[128];     /* 2376 */
	uint64_t flags, rflags;   /* 2504, 2512 */
	uint16_t cw, pad[3];      /* 2520 */
};

int spins = 30000; /* how long the registers are held */

/* hold(want, got): loads everything from want, spins, stores everything to got. */
void hold(struct state *want, struct state *got);
asm(".text\n.globl hold\nhold:\n"
    "push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
    "push %rsi; push %rdi; sub $32,%rsp\n" /* 32(%rsp)=want, 40(%rsp)=got, 0..31 scratch */
    ".irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
#ifdef __AVX512F__
    "vmovdqu64 \\i*64(%rdi),%zmm\\i\n"
#else
    "vmovdqu \\i*64(%rdi),%ymm\\i\n"
#endif
    ".endr\n"
#ifdef __AVX512F__
    ".irp i,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n vmovdqu64 \\i*64(%rdi),%zmm\\i\n .endr\n"
    ".irp i,0,1,2,3,4,5,6,7\n kmovq 2048+\\i*8(%rdi),%k\\i\n .endr\n"
#endif
    "fninit; fldcw 2520(%rdi)\n"
    ".irp i,7,6,5,4,3,2,1,0\n fldt 2112+\\i*16(%rdi)\n .endr\n"
    "ldmxcsr 2240(%rdi)\n"
    ".irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n mov 2376+\\i*8(%rdi),%rax; mov %rax,-128+\\i*8(%rsp)\n .endr\n"
    "mov 2248(%rdi),%rax; mov 2264(%rdi),%rdx; mov 2272(%rdi),%rbx; mov 2280(%rdi),%rbp; mov 2288(%rdi),%rsi\n"
    "mov 2304(%rdi),%r8; mov 2312(%rdi),%r9; mov 2320(%rdi),%r10; mov 2328(%rdi),%r11; mov 2336(%rdi),%r12\n"
    "mov 2344(%rdi),%r13; mov 2352(%rdi),%r14; mov 2360(%rdi),%r15; mov 2296(%rdi),%rdi\n"
    "mov spins(%rip),%ecx; stc; std\n"
    "1: loop 1b\n"
    "mov %rax,0(%rsp); lahf; seto %al; mov %rax,8(%rsp)\n"
    "mov 40(%rsp),%rax\n" /* got */
    "mov %rcx,2256(%rax); mov %rdx,2264(%rax); mov %rbx,2272(%rax); mov %rbp,2280(%rax); mov %rsi,2288(%rax)\n"
    "mov %rdi,2296(%rax); mov %r8,2304(%rax); mov %r9,2312(%rax); mov %r10,2320(%rax); mov %r11,2328(%rax)\n"
    "mov %r12,2336(%rax); mov %r13,2344(%rax); mov %r14,2352(%rax); mov %r15,2360(%rax)\n"
    "mov %rax,%rdi; mov 0(%rsp),%rax; mov %rax,2248(%rdi)\n"
    "mov 8(%rsp),%rax; and $0xd701,%eax; mov %rax,2504(%rdi)\n"
    ".irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n mov -128+\\i*8(%rsp),%rax; mov %rax,2376+\\i*8(%rdi)\n .endr\n"
    "pushfq; pop %rax; and $0x400,%eax; mov %rax,2512(%rdi); cld\n"
    "stmxcsr 2240(%rdi); fnstcw 2520(%rdi)\n"
    ".irp i,0,1,2,3,4,5,6,7\n fstpt 2112+\\i*16(%rdi)\n .endr\n"
    ".irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
#ifdef __AVX512F__
    "vmovdqu64 %zmm\\i,\\i*64(%rdi)\n"
#else
    "vmovdqu %ymm\\i,\\i*64(%rdi)\n"
#endif
    ".endr\n"
#ifdef __AVX512F__
    ".irp i,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n vmovdqu64 %zmm\\i,\\i*64(%rdi)\n .endr\n"
    ".irp i,0,1,2,3,4,5,6,7\n kmovq %k\\i,2048+\\i*8(%rdi)\n .endr\n"
#endif
    "vzeroupper; fninit; movl $0x1f80,0(%rsp); ldmxcsr 0(%rsp)\n"
    "add $32,%rsp; pop %rdi; pop %rsi\n"
    "pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx; ret\n");

static volatile uint64_t *counters;
static int pausing, waiting;
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER; /* threads that spin would slow down the making of the others */

static void fill(struct state *s, unsigned seed)
{
	memset(s, 0, sizeof *s);
#ifdef __AVX512F__
	int width = 64, regs = 32;
#else
	int width = 32, regs = 16;
#endif
	for (int r = 0; r < regs; r++)
		for (int i = 0; i < width; i++)
			s->vector[64 * r + i] = rand_r(&seed);
#ifdef __AVX512F__
	for (int i = 0; i < 8; i++)
		s->mask[i] = (uint64_t)rand_r(&seed) << 33 ^ rand_r(&seed);
#endif
	for (int i = 0; i < 8; i++) {
		long double v = rand_r(&seed) / 3.0L;
		memcpy(s->x87 + 16 * i, &v, 10);
	}
	s->mxcsr = 0x1f80 | (rand_r(&seed) & 3) << 13;  /* rounding */
	s->cw = 0x37f & ~0x300;                         /* single precision */
	for (int i = 0; i < 16; i++)
		s->general[i] = (uint64_t)rand_r(&seed) << 32 | rand_r(&seed);
	s->general[1] = 0;  /* rcx counts down to 0 */
	s->general[15] = 0; /* rsp, which is not compared */
	for (int i = 0; i < 128; i++)
		s->redzone[i] = rand_r(&seed);
	s->rflags = 0x400;
}

static void compare(const struct state *w, const struct state *g)
{
	if (memcmp(w->general, g->general, sizeof w->general)) _exit(GENERAL);
	if (memcmp(w->vector, g->vector, sizeof w->vector)) _exit(VECTOR);
	if (memcmp(w->mask, g->mask, sizeof w->mask)) _exit(MASK);
	if (memcmp(w->x87, g->x87, sizeof w->x87) || w->cw != g->cw) _exit(X87);
	if ((w->mxcsr & ~0x3f) != (g->mxcsr & ~0x3f)) _exit(MXCSR);
	if (g->rflags != 0x400 || (g->flags & 0x0100) != 0x0100) _exit(FLAGS);
	if (memcmp(w->redzone, g->redzone, sizeof w->redzone)) _exit(REDZONE);
}

/* Functions for the tracer to call. sum makes system calls and leaves other values in the vector registers. */
long sum(long a, long b, long c, long d, long e, long f)
{
	volatile double x[64] __attribute__((aligned(64)));
	for (int i = 0; i < 64; i++) x[i] = i * 1.5 + a;
	for (int i = 0; i < 5; i++) if (getppid() < 0) return -1;
	asm volatile("vpcmpeqb %%ymm3,%%ymm3,%%ymm3; vpcmpeqb %%ymm14,%%ymm14,%%ymm14; fld1; fstp %%st" ::: "xmm3", "xmm14");
	return a + 2 * b + 3 * c + 4 * d + 5 * e + 6 * f + (x[2] < 0);
}
long fault(long a) { return *(volatile long *)a; }
long stall(long ms) { usleep(ms * 1000); return 1; }
long trapped(long, long, long, long, long, long);
asm(".globl trapped\ntrapped: nop; nop; call sum; int3\n");

/* wait_all waits for 1 ms in each of several calls. */
static void wait_all(void)
{
	static int ep = -1;
	struct epoll_event e;
	struct timespec ms = {0, 1000000};
	struct timeval tv = {0, 1000};
	sigset_t none, usr;
	sigemptyset(&none);
	sigemptyset(&usr);
	sigaddset(&usr, SIGUSR2);
	if (ep < 0) ep = epoll_create1(0);
	if (poll(0, 0, 1) || ppoll(0, 0, &ms, &none) || select(0, 0, 0, 0, &tv)) _exit(WAIT);
	if (clock_nanosleep(CLOCK_MONOTONIC, 0, &ms, 0)) _exit(WAIT);
	/* These two end with EINTR if the tracer dies before it has restarted them. */
	if (epoll_pwait(ep, &e, 1, 1, &none) && errno != EINTR) _exit(WAIT);
	if (sigtimedwait(&usr, 0, &ms) != -1 || (errno != EAGAIN && errno != EINTR)) _exit(WAIT);
}

/* A stack between other data, which must stay as they are. */
static struct { unsigned char before[1 << 17], stack[12 << 10], after[4096]; } pen __attribute__((aligned(64)));
static int penned;
static void check_pen(void)
{
	for (unsigned i = 0; i < sizeof pen.before; i++) if (pen.before[i] != 0xa5) _exit(NEIGHBOUR);
	for (unsigned i = 0; i < sizeof pen.after; i++) if (pen.after[i] != 0xa5) _exit(NEIGHBOUR);
}

/* Matrices and rights to protection keys, which no function changes. */
static int has_tiles, has_keys, all_keys;
static struct { uint8_t palette, start, reserved[14]; uint16_t width[16]; uint8_t rows[16]; } tiles, tiles_now;
enum { TILE = 16 * 64 };
static __thread uint8_t tile[2][TILE], tile_now[2][TILE];
static __thread uint32_t keys;

static uint32_t read_keys(void)
{
	uint32_t v;
	asm volatile("rdpkru" : "=a"(v) : "c"(0) : "rdx");
	return v;
}

static void take_extras(void)
{
	uint32_t a = 7, b, c = 0, d;
	asm volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	has_keys = c >> 4 & 1;
	has_tiles = !syscall(SYS_arch_prctl, 0x1023 /* ARCH_REQ_XCOMP_PERM */, 18L);
	tiles.palette = 1;
	for (int i = 0; i < 8; i++) tiles.width[i] = 64, tiles.rows[i] = 16;
}

static void hold_extras(unsigned seed)
{
	if (has_keys) {
		keys = all_keys ? 0 : (uint32_t)rand_r(&seed) << 2; /* key 0 is everybody's */
		asm volatile("wrpkru" :: "a"(keys), "c"(0), "d"(0) : "memory");
	}
	if (!has_tiles) return;
	for (int i = 0; i < 2 * TILE; i++) tile[i / TILE][i % TILE] = rand_r(&seed);
	asm volatile("ldtilecfg %0\n tileloadd (%1,%3),%%tmm0\n tileloadd (%2,%3),%%tmm7"
		:: "m"(tiles), "r"(tile[0]), "r"(tile[1]), "r"(64L) : "memory");
}

static void compare_extras(void)
{
	if (has_keys && read_keys() != keys) _exit(KEYS);
	if (!has_tiles) return;
	asm volatile("sttilecfg %0" : "=m"(tiles_now));
	if (memcmp(&tiles, &tiles_now, sizeof tiles)) _exit(TILES); /* or the next instruction is not allowed */
	asm volatile("tilestored %%tmm0,(%0,%2)\n tilestored %%tmm7,(%1,%2)"
		:: "r"(tile_now[0]), "r"(tile_now[1]), "r"(64L) : "memory");
	if (memcmp(tile, tile_now, sizeof tile)) _exit(TILES);
}

static void *work(void *arg)
{
	long n = (long)arg;
	struct state want, got;
	stack_t alt, alt_now;
	sigset_t mask, mask_now;
	memset(&mask, 0, sizeof mask);
	memset(&mask_now, 0, sizeof mask_now);
	sigaltstack(0, &alt);
	sigprocmask(SIG_BLOCK, 0, &mask);
	if (n) pthread_mutex_lock(&gate), pthread_mutex_unlock(&gate);
	for (unsigned round = 0;; round++) {
		fill(&want, n * 7919 + round);
		memset(&got, 0, sizeof got);
		hold_extras(n * 7919 + round);
		for (int i = 0; i < 4; i++) {
			hold(&want, &got);
			compare(&want, &got);
			compare_extras();
		}
		sigaltstack(0, &alt_now);
		if (alt.ss_sp != alt_now.ss_sp || alt.ss_size != alt_now.ss_size || alt.ss_flags != alt_now.ss_flags)
			_exit(ALTSTACK);
		sigprocmask(SIG_BLOCK, 0, &mask_now);
		if (memcmp(&mask, &mask_now, sizeof mask)) _exit(SIGNALS);
		counters[n]++;
		struct timespec t0, t1, ms = {0, spins < 30000 ? 20000000 : 1000000};
		clock_gettime(CLOCK_MONOTONIC, &t0);
		if (waiting) wait_all();
		if (penned && !n) check_pen();
		if (pausing && nanosleep(&ms, 0)) _exit(SLEEP);
		clock_gettime(CLOCK_MONOTONIC, &t1);
		if (pausing && (t1.tv_sec - t0.tv_sec) * 1000000000L + t1.tv_nsec - t0.tv_nsec < ms.tv_nsec) _exit(SLEEP);
	}
}

static void handler(int sig)
{
	(void)sig;
	work(0);
}

/* Functions for the tracer that replace the program, or never end. */
long replace(void) { return execl("/bin/sleep", "sleep", "60", (char *)0); }

static void unwanted(int sig) { _exit(sig); }

int main(int argc, char **argv)
{
	int threads = atoi(argv[2]), fd = open(argv[1], O_RDWR);
	pausing = argc > 3 && !strcmp(argv[3], "pause");
	waiting = argc > 3 && !strcmp(argv[3], "wait");
	counters = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (fd < 0 || counters == MAP_FAILED) return 1;
	if (argc > 3 && !strcmp(argv[3], "setuid") && (setgid(65534) || setuid(65534))) return 3;
	if (argc > 3 && !strcmp(argv[3], "chroot") && (chroot("/proc/self/fdinfo") || chdir("/"))) return 3;
	alarm(600);
	all_keys = argc > 3 && !strcmp(argv[3], "nokeys");
	if (all_keys || (argc > 3 && !strcmp(argv[3], "tiles"))) take_extras();
	if (threads > 8) spins = 1000; /* they shall not keep each other from the CPU */
	if (argc > 3 && !strcmp(argv[3], "catch"))
		signal(SIGURG, unwanted), signal(SIGWINCH, unwanted), signal(SIGCHLD, unwanted);
	pthread_mutex_lock(&gate);
	for (long i = 1; i < threads; i++) {
		pthread_t t;
		if (pthread_create(&t, 0, work, (void *)i)) return 2;
	}
	printf("ready\n%ld %ld %ld %ld %ld\n", (long)sum, (long)fault, (long)stall, (long)trapped, (long)replace);
	fflush(stdout);
	pthread_mutex_unlock(&gate);
	if (argc > 3 && !strcmp(argv[3], "coroutine")) {
		static ucontext_t back, there;
		getcontext(&there);
		memset(&pen, 0xa5, sizeof pen);
		penned = 1;
		there.uc_stack.ss_sp = pen.stack, there.uc_stack.ss_size = sizeof pen.stack, there.uc_link = &back;
		makecontext(&there, (void (*)(void))work, 1, 0);
		swapcontext(&back, &there);
	}
	if (argc > 3 && !strcmp(argv[3], "handler")) {
		stack_t alt = {.ss_sp = malloc(1 << 16), .ss_size = 1 << 16};
		struct sigaction sa = {.sa_handler = handler, .sa_flags = SA_ONSTACK};
		sigaltstack(&alt, 0);
		sigaction(SIGUSR1, &sa, 0);
		raise(SIGUSR1);
	}
	work(0);
}
