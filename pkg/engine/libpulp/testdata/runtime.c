/* The interface of libpulp.so for tests: the same exported names and structures in memory, the same protocol, and modes in
   which it lies. It is preloaded. With -DOLD it is one without version, queue and error state, which writes code itself.
   FAKEPULP names a mode, and what it needs:
     again N    busy N times              code N      fails before it does anything
     half N     records the patch, asks for the first write, fails with N, refuses everything after, as libpulp.so does
     elsewhere  asks for a write into libc     wrong    jumps into the middle of the container
     extra      asks for one write more        missing  asks for one write too few
     cycle      a cyclic list                  garbage  pointers to nowhere
     endless    a name without end             torn     a queue whose sizes make no sense
     ring       a ring of messages with wild numbers    crash  dies in the call
     newer      a queue of a later version     slow N   takes N ms
     left       begins with a write into libc left in its queue
   LIBPULP_DISABLE_ON_PATH, _USERS and _GROUPS switch it off: lists of patterns for the program's path, of uids, of gids.
   Macros: -DSMALL has a buffer that is too small, -DOPEN has entry points without a trap,
   -DIGNORANT knows nothing of endbr64. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fnmatch.h>
#include <link.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define SHOWN __attribute__((visibility("default")))
enum { UNKNOWN = 256, BUILDID = 257, INVALID = 266, NOOLD = 267, NONEW = 268, NOTAPPLIED = 272, DEPEND = 273, APPLIED = 275,
       NOTARGET = 276, NOTPATCHABLE = 278, BLOCKED = 280, NOPATCH = 284, QUEUE = 285, DLOPEN = 287 };

struct unit { void *old, *new; char overwritten[14], kind; struct unit *next; };
struct depend { unsigned char id[32]; char seen; struct depend *next; };
struct patch {
	unsigned char id[32];
	char *library, *container;
	struct unit *units;
	struct patch *next;
	struct depend *depends;
#ifndef OLD
	int64_t time;
#endif
};

SHOWN struct { char loaded; struct patch *newest; } __ulp_state;
#ifdef SMALL
SHOWN char __ulp_metadata_buffer[16];
#else
SHOWN char __ulp_metadata_buffer[512 * 1024];
#endif
#define RING (2 << 20)
SHOWN struct { char text[RING]; int top, bottom, distance; } __ulp_msg_queue;
#ifndef OLD
SHOWN int __ulp_error_state;
SHOWN const char __ulp_version[] = "0.3.17";
SHOWN struct { int version, count, size, unused; char bytes[2 << 20]; } __ulp_insn_queue = { .version = 1 };
#else
static int __ulp_error_state;
#endif

static char mode[32];
static long number;
static int is(const char *m) { return !strcmp(mode, m); }

static void say(const char *text)
{
	int n = strlen(text) + 1;
	if (__ulp_msg_queue.top + n > RING) return;
	memcpy(__ulp_msg_queue.text + __ulp_msg_queue.top, text, n);
	__ulp_msg_queue.top += n;
	__ulp_msg_queue.distance += n;
}

static void ask(void *addr, const void *bytes, uint32_t n);

/* Whether a variable's list has a pattern for a name. */
static int listed(const char *variable, const char *name)
{
	const char *e = getenv(variable);
	char list[512], *rest = list, *one;
	snprintf(list, sizeof list, "%s", e ? e : "");
	while ((one = strsep(&rest, ":")))
		if (*one && !fnmatch(one, name, 0)) return 1;
	return 0;
}

__attribute__((constructor)) static void begin(void)
{
	const char *e = getenv("FAKEPULP");
	char exe[512] = "", uid[16], gid[16];
	if (e) sscanf(e, "%31s %ld", mode, &number);
	if (readlink("/proc/self/exe", exe, sizeof exe - 1) < 0) return;
	snprintf(uid, sizeof uid, "%u", getuid()), snprintf(gid, sizeof gid, "%u", getgid());
	if (listed("LIBPULP_DISABLE_ON_PATH", exe) || listed("LIBPULP_DISABLE_ON_USERS", uid) || listed("LIBPULP_DISABLE_ON_GROUPS", gid))
		__ulp_error_state = BLOCKED;
	__ulp_state.loaded = 1;
	say("loaded\n");
	if (is("ring")) __ulp_msg_queue.bottom = -5, __ulp_msg_queue.distance = 1 << 30;
#ifndef OLD
	if (is("newer")) __ulp_insn_queue.version = 2;
	if (is("left")) ask(dlsym(RTLD_DEFAULT, "getppid"), "\x66\x90", 2);
#endif
}

/* Writing. */
static void ask(void *addr, const void *bytes, uint32_t n)
{
#ifdef OLD
	uintptr_t page = (uintptr_t)addr & ~4095UL, end = ((uintptr_t)addr + n + 4095) & ~4095UL;
	Dl_info info;
	int code = dladdr(addr, &info) && n != 8;
	mprotect((void *)page, end - page, PROT_READ | PROT_WRITE | (code ? PROT_EXEC : 0));
	memcpy(addr, bytes, n);
	if (code) mprotect((void *)page, end - page, PROT_READ | PROT_EXEC);
#else
	char *at = __ulp_insn_queue.bytes + __ulp_insn_queue.size;
	uint32_t size = (16 + n + 7) & ~7u, head = 2 | size << 8;
	uint64_t a = (uint64_t)addr;
	if (is("elsewhere") && n >= 16) a = (uint64_t)dlsym(RTLD_DEFAULT, "getppid");
	memcpy(at, &head, 4), memcpy(at + 4, &n, 4), memcpy(at + 8, &a, 8), memcpy(at + 16, bytes, n);
	__ulp_insn_queue.size += size;
	__ulp_insn_queue.count++;
#endif
}

#ifdef IGNORANT
static const unsigned char landing[4] = {0};
#else
static const unsigned char landing[6] __attribute__((used)) = {0xf3, 0x0f, 0x1e, 0xfa, 0xeb, 0xec};
#endif

static int switch_to(char *old, char *new)
{
	unsigned char b[20] = {0xff, 0x25}, nop[2] = {0x66, 0x90};
	int lands = !memcmp(old, landing, 4), n = 14;
	unsigned char *entry = (unsigned char *)old + 4 * lands;
	if (entry[0] != 0xeb && !((entry[0] == 0x90 || entry[0] == 0x66) && entry[1] == 0x90)) return NOTPATCHABLE;
	if (!new) {
		ask(entry, nop, 2);
		return 0;
	}
	if (is("wrong")) new += 3;
	memcpy(b + 6, &new, 8);
	if (lands) memcpy(b + n, landing, 4), n += 4;
	b[n] = 0xeb, b[n + 1] = -(n + 2);
	if (!is("missing")) ask(old - 14, b, n + 2);
	return 0;
}

/* Reading the metadata. */
static char *cursor;
static uint32_t u32(void) { uint32_t v; memcpy(&v, cursor, 4); cursor += 4; return v; }
static uint64_t u64(void) { uint64_t v; memcpy(&v, cursor, 8); cursor += 8; return v; }
static char *bytes(uint32_t n) { char *p = cursor; cursor += n; return p; }
static char *name(void) { uint32_t n = u32(); return bytes(n); }

struct search { const char *name; uint64_t base; size_t tls; };
static int visit(struct dl_phdr_info *i, size_t size, void *arg)
{
	struct search *s = arg;
	(void)size;
	if (!strstr(i->dlpi_name, s->name)) return 0;
	s->base = i->dlpi_addr, s->tls = i->dlpi_tls_modid;
	return 1;
}

static struct patch *find(const char *id)
{
	struct patch *p = __ulp_state.newest;
	while (p && memcmp(p->id, id, 32)) p = p->next;
	return p;
}

static int fail(int code)
{
	__ulp_error_state = UNKNOWN;
	return code;
}

static void lie(struct patch *p)
{
	if (is("cycle")) p->next = p;
	if (is("garbage")) p->library = (char *)0x1234, p->units = (struct unit *)0xdead0000beef0000UL;
	if (is("endless")) p->library = memset(malloc(1 << 20), 'x', 1 << 20);
#ifndef OLD
	if (is("torn")) __ulp_insn_queue.size = -1, __ulp_insn_queue.count = 1 << 30;
	if (is("extra")) ask((void *)p->units->old, "\x90\x90", 2);
#endif
}

static int apply(const char *id)
{
	struct patch *p = calloc(1, sizeof *p);
	char *path = name(), *library;
	memcpy(p->id, id, 32);
	bytes(u32());
	library = name();
	struct search target = {library, 0, 0};
	if (!dl_iterate_phdr(visit, &target)) return NOTARGET;
	void *so = dlopen(path, RTLD_NOW);
	if (!so) return DLOPEN;
	p->library = strdup(library), p->container = strdup(path);
#ifndef OLD
	p->time = time(0);
#endif
	struct unit **last = &p->units;
	for (uint32_t n = u32(); n > 0; n--) {
		struct unit *u = calloc(1, sizeof *u);
		name();
		char *new = name();
		u->old = (void *)(target.base + u64());
		if (!(u->new = dlsym(so, new))) return NONEW;
		memcpy(u->overwritten, u->old, 14);
		*last = u, last = &u->next;
	}
	struct depend **end = &p->depends;
	for (uint32_t n = u32(); n > 0; n--) {
		struct depend *d = calloc(1, sizeof *d);
		memcpy(d->id, bytes(32), 32);
		if (!find((char *)d->id)) return DEPEND;
		*end = d, end = &d->next;
	}
	p->next = __ulp_state.newest, __ulp_state.newest = p;
	for (struct unit *u = p->units; u; u = u->next) {
		int code = switch_to(u->old, u->new);
		if (code) return fail(code);
		if (is("half")) return fail(number);
	}
	struct link_map *map;
	dlinfo(so, RTLD_DI_LINKMAP, &map);
	for (uint32_t n = u32(); n > 0; n--) {
		name();
		char *variable = name();
		uint64_t from = u64(), to = u64(), pair[2] = {target.tls, from}, value = target.base + from;
		char *at = to ? (char *)map->l_addr + to : dlsym(so, variable);
		if (*bytes(1)) ask(at, pair, 16);
		else ask(at, &value, 8);
	}
	lie(p);
	return 0;
}

static int revert(const char *id)
{
	struct patch **at = &__ulp_state.newest, *p = find(id);
	if (!p) return NOTAPPLIED;
	for (struct patch *q = __ulp_state.newest; q; q = q->next)
		for (struct depend *d = q->depends; d; d = d->next)
			if (!memcmp(d->id, id, 32)) return DEPEND;
	while (*at != p) at = &(*at)->next;
	*at = p->next;
	for (struct unit *u = p->units; u; u = u->next) {
		char *former = 0;
		for (struct patch *q = __ulp_state.newest; q && !former; q = q->next)
			for (struct unit *v = q->units; v; v = v->next)
				if (v->old == u->old) former = v->new;
		switch_to(u->old, former);
	}
	return 0;
}

static int ready(void)
{
	if (__ulp_error_state) return __ulp_error_state;
#ifndef OLD
	if (__ulp_insn_queue.count || __ulp_insn_queue.size) return __ulp_error_state = QUEUE;
#endif
	if (is("again") && number-- > 0) return EAGAIN;
	return 0;
}

/* The entry points' functions. */
int trigger(void)
{
	int code = ready();
	if (code) return code;
	if (is("crash")) *(volatile int *)0 = 1;
	if (is("slow")) usleep(number * 1000);
	cursor = __ulp_metadata_buffer;
	char kind = *bytes(1), *id = bytes(32);
	if (is("code") && kind == 1) code = number;
	else if (kind == 1) code = find(id) ? APPLIED : apply(id);
	else code = kind == 2 ? revert(id) : INVALID;
	say(code ? "failed\n" : "done\n");
	memset(__ulp_metadata_buffer, 0, sizeof __ulp_metadata_buffer);
	return code;
}

int revert_all(void)
{
	int code = ready(), found = NOPATCH;
	for (struct patch *p = __ulp_state.newest, *next; !code && p; p = next) {
		next = p->next;
		if (!strcmp(p->library, __ulp_metadata_buffer)) found = revert((char *)p->id);
	}
	return code ? code : found;
}

int check(void) { return !__ulp_error_state && find(__ulp_metadata_buffer); }
long universe(void) { return 0; }
int toggle(void)
{
	if (__ulp_error_state == 0) __ulp_error_state = BLOCKED;
	else if (__ulp_error_state == BLOCKED) __ulp_error_state = 0;
	return __ulp_error_state;
}

#ifdef OPEN
#define END "ret"
#else
#define END "int3"
#endif
#define ENTRY(name, function) ".globl __ulp_" name "\n__ulp_" name ": nop; nop; call " function "; " END "\n"
asm(".text\n" ENTRY("trigger", "trigger") ENTRY("revert_all", "revert_all") ENTRY("check_patched", "check")
    ENTRY("get_global_universe", "universe")
#ifndef OLD
    ENTRY("enable_or_disable_patching", "toggle")
#endif
);
