/* Sixteen timers whose signals come all the time, while it spins. */
#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static volatile long ticks;

static void tick(int sig) { (void)sig; ticks++; }

int main(void)
{
	alarm(600);
	puts("ready"); // before they begin: on a busy machine nothing else may be done from then on
	fflush(stdout);
	for (int i = 0; i < 16; i++) {
		timer_t t;
		struct sigevent e = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + i};
		struct itimerspec s = {{0, 3000 + i * 700}, {0, 50000 + i * 1000}};
		signal(SIGRTMIN + i, tick);
		timer_create(CLOCK_MONOTONIC, &e, &t);
		timer_settime(t, 0, &s, 0);
	}
	for (;;) ;
}
