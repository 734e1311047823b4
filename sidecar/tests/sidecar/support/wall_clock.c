/* The wall clock of a process, as a test sets it while the process runs: the time since the machine
 * started plus what the file that WALL_CLOCK names says, or a moment at which it stands still. The clocks
 * that nobody can set are the machine's own. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct wall {
	_Atomic int64_t ahead;   /* nanoseconds since 1970 when the machine started */
	_Atomic int64_t stopped; /* nanoseconds since 1970, or 0 where it runs */
};

static const int64_t SECOND = 1000000000;
static const struct wall *wall;

__attribute__((constructor)) static void begin(void)
{
	const char *name = getenv("WALL_CLOCK");
	int file = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
	void *page = mmap(NULL, sizeof *wall, PROT_READ, MAP_SHARED, file, 0);
	if (page == MAP_FAILED)
		abort();
	wall = page;
	close(file);
}

int clock_gettime(clockid_t id, struct timespec *at)
{
	int is_wall = id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE;
	int64_t now;

	if (!is_wall || !wall)
		return (int)syscall(SYS_clock_gettime, id, at);
	now = wall->stopped;
	if (now == 0) {
		if (syscall(SYS_clock_gettime, CLOCK_MONOTONIC, at) != 0)
			return -1;
		now = at->tv_sec * SECOND + at->tv_nsec + wall->ahead;
	}
	at->tv_sec = now / SECOND;
	at->tv_nsec = now % SECOND;
	return 0;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone)
{
	struct timespec now;

	(void)zone;
	if (clock_gettime(CLOCK_REALTIME, &now) != 0)
		return -1;
	at->tv_sec = now.tv_sec;
	at->tv_usec = now.tv_nsec / 1000;
	return 0;
}

time_t time(time_t *at)
{
	struct timespec now;

	if (clock_gettime(CLOCK_REALTIME, &now) != 0)
		return -1;
	if (at)
		*at = now.tv_sec;
	return now.tv_sec;
}
