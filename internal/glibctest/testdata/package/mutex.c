/* Locks, and leaves a mark in the mutex, in a field that mutexes of the usual kind do not use. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>

int mutex_lock_lp(pthread_mutex_t *mutex)
{
	int error;

	while ((error = pthread_mutex_trylock(mutex)) == EBUSY)
		sched_yield();
	if (error == 0)
		mutex->__data.__spins = 77;
	return error;
}
