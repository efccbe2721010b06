/* What the tests profile: a program that keeps no frame pointers, as distributions build them. Its
 * first argument says what it does, until it is killed. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOINLINE __attribute__((noinline))

static volatile unsigned long sink;

NOINLINE void spin(unsigned long times)
{
	for (unsigned long i = 0; i < times; i++)
		sink += i;
}

/* So that nothing is a tail call. */
NOINLINE int deep(int left)
{
	if (left > 0)
		return deep(left - 1) + (int)sink;
	for (;;)
		spin(100000);
}

/* Each many beats of the clock long, so that neither is met by the same beat of it again and again. */
NOINLINE void light(void)
{
	for (int i = 0; i < 100; i++)
		spin(100000);
	sink++;
}

NOINLINE void heavy(void)
{
	for (int i = 0; i < 300; i++)
		spin(100000);
	sink++;
}

static void *on_thread(void *unused)
{
	(void)unused;
	deep(3);
	return NULL;
}

NOINLINE void in_handler(void)
{
	for (;;)
		spin(100000);
}

static void handler(int signal)
{
	(void)signal;
	in_handler();
}

NOINLINE void interrupted(void)
{
	struct itimerval soon = { .it_value = { .tv_usec = 1000 } };

	signal(SIGALRM, handler);
	setitimer(ITIMER_REAL, &soon, NULL);
	for (;;)
		spin(1000);
}

/* A child at a time, each of which is a copy that works for some milliseconds. */
NOINLINE void in_copy(void)
{
	for (int i = 0; i < 30; i++)
		spin(100000);
}

static void copies(void)
{
	for (;;) {
		pid_t child = fork();

		if (!child) {
			in_copy();
			_exit(0);
		}
		waitpid(child, NULL, 0);
	}
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	pthread_t thread;

	puts("ready");
	fflush(stdout);
	if (!strcmp(what, "deep"))
		return deep(atoi(argv[2]));
	if (!strcmp(what, "shares"))
		for (;;) {
			light();
			heavy();
		}
	if (!strcmp(what, "thread")) {
		pthread_create(&thread, NULL, on_thread, NULL);
		pthread_join(thread, NULL);
	}
	if (!strcmp(what, "signal"))
		interrupted();
	if (!strcmp(what, "copies"))
		copies();
	if (!strcmp(what, "idle"))
		for (;;)
			pause();
	return 2;
}
