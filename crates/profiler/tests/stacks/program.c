/* What the tests profile: a program that keeps no frame pointers, as distributions build them. Its
 * first argument says what it does, until it is killed. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
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

static void rest(long milliseconds)
{
	struct timespec time = { .tv_nsec = milliseconds * 1000000 };

	nanosleep(&time, NULL);
	sink++;
}

NOINLINE void nap_long(void)
{
	rest(30);
	sink++;
}

NOINLINE void nap_short(void)
{
	rest(10);
	sink++;
}

static void *sleeper(void *unused)
{
	for (;;) {
		nap_long();
		nap_short();
	}
	return unused;
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

NOINLINE void holds(void)
{
	pthread_mutex_lock(&lock);
	rest(5);
	pthread_mutex_unlock(&lock);
	/* So that the other one has its turn. */
	usleep(100);
	sink++;
}

static void *locker(void *unused)
{
	for (;;)
		holds();
	return unused;
}

NOINLINE void *forever(void *unused)
{
	for (;;)
		pause();
	return unused;
}

/* One reads where the other one writes. */
static int there[2], back[2];

NOINLINE void pass_on(int from, int to)
{
	char one;

	while (read(from, &one, 1) == 1 && write(to, &one, 1) == 1)
		sink++;
}

NOINLINE void *ping(void *unused)
{
	pass_on(back[0], there[1]);
	sink++;
	return unused;
}

NOINLINE void *pong(void *unused)
{
	pass_on(there[0], back[1]);
	sink++;
	return unused;
}

/* Blocks that are kept, blocks that are given back at once, and blocks that grow. */
NOINLINE void *keeps(void)
{
	void *block = malloc(1000);

	sink += (unsigned long)block;
	return block;
}

NOINLINE void gives_back(void)
{
	void *block = malloc(500);

	sink += (unsigned long)block;
	free(block);
	sink++;
}

NOINLINE void grows(void)
{
	void *block = realloc(calloc(10, 30), 3000);

	sink += (unsigned long)block;
	free(block);
	sink++;
}

NOINLINE void aligned(void)
{
	void *block = NULL;

	if (!posix_memalign(&block, 64, 2000))
		sink += (unsigned long)block;
	free(block);
	sink++;
}

/* No more than malloc gives. */
NOINLINE void aligned_little(void)
{
	void *block = NULL;

	if (!posix_memalign(&block, 16, 2000))
		sink += (unsigned long)block;
	free(block);
	sink++;
}

static void allocates(void)
{
	for (;;) {
		for (int i = 0; i < 100; i++) {
			keeps();
			gives_back();
			gives_back();
			grows();
			aligned();
			aligned_little();
		}
		/* As much as a test can bear. */
		rest(1);
	}
}

/* An allocator, by its names, whose functions serve themselves with others that are watched as well. */
NOINLINE void *je_malloc(size_t size)
{
	void *block = malloc(size);

	sink++;
	return block;
}

NOINLINE void *je_calloc(size_t count, size_t size)
{
	void *block = je_malloc(count * size);

	memset(block, 0, count * size);
	return block;
}

NOINLINE void je_free(void *block)
{
	free(block);
	sink++;
}

NOINLINE void wraps(void)
{
	void *block = je_calloc(10, 100);

	sink += (unsigned long)block;
	je_free(block);
}

static void allocates_by_way_of_another(void)
{
	for (;;) {
		for (int i = 0; i < 100; i++)
			wraps();
		rest(1);
	}
}

/* Says how many nanoseconds a pair of an allocation and its end takes, on average of many, whenever it
 * is asked with a byte. */
static void pairs(void)
{
	enum { PAIRS = 50000 };
	struct timespec began, ended;

	while (getchar() != EOF) {
		clock_gettime(CLOCK_MONOTONIC, &began);
		for (int i = 0; i < PAIRS; i++) {
			void *block = malloc(100);

			sink += (unsigned long)block;
			free(block);
		}
		clock_gettime(CLOCK_MONOTONIC, &ended);
		printf("%.1f\n", ((ended.tv_sec - began.tv_sec) * 1e9 +
				  (double)(ended.tv_nsec - began.tv_nsec)) / PAIRS);
		fflush(stdout);
	}
}

NOINLINE void keeps_later(void)
{
	sink += (unsigned long)malloc(1000);
	sink++;
}

static volatile sig_atomic_t is_asked;

static void asked(int signal)
{
	(void)signal;
	is_asked = 1;
}

/* Keeps blocks until it is asked to become another program. */
static void becomes(char *program)
{
	char *args[] = { program, "later", NULL };

	/* Nobody reads a second time that the program is ready. */
	signal(SIGPIPE, SIG_IGN);
	while (!is_asked) {
		for (int i = 0; i < 100; i++)
			keeps();
		rest(1);
	}
	execv(program, args);
}

static void later(void)
{
	for (;;) {
		for (int i = 0; i < 100; i++)
			keeps_later();
		rest(1);
	}
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	pthread_t thread;

	if (!strcmp(what, "waits")) {
		pthread_create(&thread, NULL, locker, NULL);
		pthread_create(&thread, NULL, locker, NULL);
		pthread_create(&thread, NULL, sleeper, NULL);
		pthread_create(&thread, NULL, forever, NULL);
		/* So that it waits already. */
		rest(50);
	}
	if (!strcmp(what, "naps")) {
		pthread_create(&thread, NULL, sleeper, NULL);
		pthread_create(&thread, NULL, sleeper, NULL);
	}
	if (!strcmp(what, "ping-pong")) {
		if (pipe(there) || pipe(back) || write(back[1], "", 1) != 1)
			return 1;
		pthread_create(&thread, NULL, ping, NULL);
		pthread_create(&thread, NULL, pong, NULL);
	}
	if (!strcmp(what, "becomes"))
		signal(SIGUSR1, asked);
	puts("ready");
	fflush(stdout);
	if (!strcmp(what, "waits") || !strcmp(what, "naps") || !strcmp(what, "ping-pong"))
		forever(NULL);
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
	if (!strcmp(what, "allocates"))
		allocates();
	if (!strcmp(what, "wraps"))
		allocates_by_way_of_another();
	if (!strcmp(what, "pairs"))
		pairs();
	if (!strcmp(what, "becomes"))
		becomes(argv[0]);
	if (!strcmp(what, "later"))
		later();
	if (!strcmp(what, "idle"))
		for (;;)
			pause();
	return 2;
}
