/* Holds a pod's namespaces open. As PID 1 of a pod with a shared process namespace it also
 * collects orphans, and it has to ask for the signals that end it: PID 1 gets no default action. */
#include <signal.h>
#include <stddef.h>
#include <sys/wait.h>
#include <unistd.h>

static void end(int signal_number)
{
	(void)signal_number;
	_exit(0);
}

static void collect(int signal_number)
{
	(void)signal_number;
	while (waitpid(-1, NULL, WNOHANG) > 0) {
	}
}

int main(void)
{
	signal(SIGINT, end);
	signal(SIGTERM, end);
	signal(SIGCHLD, collect);
	for (;;) {
		pause();
	}
}
