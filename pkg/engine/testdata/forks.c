/*
 * Uses the library. A line of input that begins with f forks a child, or if there is one has that do it, and prints the PID of the
 * new process; any other prints what one() returns here and in each descendant. They end with their parent's input.
 */
#include <stdio.h>
#include <unistd.h>
int one(void);

static int in = 0, out = 1, child_in = -1, child_out;

static int get_line(int fd, char *line, int size)
{
	int n = 0;
	while (n < size - 1 && read(fd, line + n, 1) == 1 && line[n] != '\n') n++;
	int whole = line[n] == '\n';
	line[n] = 0;
	return whole;
}

static int fork_one(void)
{
	int to[2], from[2];
	if (pipe(to) || pipe(from)) return -1;
	int pid = fork();
	if (pid == 0) {
		close(in);
		close(out);
		close(to[1]);
		close(from[0]);
		in = to[0];
		out = from[1];
		return 0;
	}
	close(to[0]);
	close(from[1]);
	child_in = to[1];
	child_out = from[0];
	return pid;
}

int main(void)
{
	char line[1024] = "";
	do {
		if (line[0] == 'f' && child_in < 0) {
			int pid = fork_one();
			if (pid < 0) return 1;
			if (pid == 0) dprintf(out, "%d\n", getpid()); /* ready, and for the parent to pass on */
			else if (get_line(child_out, line, sizeof line)) dprintf(out, "%s\n", line);
			continue;
		}
		int forks = line[0] == 'f', answered = 0;
		if (child_in >= 0) {
			if (dprintf(child_in, "%s\n", line) < 0) return 1;
			answered = get_line(child_out, line, sizeof line);
		}
		if (forks) dprintf(out, "%s\n", line);
		else if (answered) dprintf(out, "%d %s\n", one(), line);
		else dprintf(out, "%d\n", one());
	} while (get_line(in, line, sizeof line));
	return 0;
}
