/* Makes the code of the libraries that the tests patch execute-only before the program begins. */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

__attribute__((constructor)) static void execute_only(void)
{
	char line[4096], perms[8];
	unsigned long start, end;
	FILE *maps = fopen("/proc/self/maps", "r");
	while (maps && fgets(line, sizeof line, maps))
		if ((strstr(line, "libplain") || strstr(line, "libcet")) && sscanf(line, "%lx-%lx %7s", &start, &end, perms) == 3 &&
		    strchr(perms, 'x') && mprotect((void *)start, end - start, PROT_EXEC))
			_exit(77);
	if (maps)
		fclose(maps);
}
