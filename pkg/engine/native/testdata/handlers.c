// A function with a handler for cancellation, compiled in both ways there are: without -fexceptions it is found without the
// unwinder, with it only by the unwinder.
#include <pthread.h>

void NAME(void (*f)(void), void (*handler)(void *), char *word) {
	pthread_cleanup_push(handler, word);
	f();
	pthread_cleanup_pop(0);
}
