/* The target of TestPackGolden. libsmall.so.1.json is the catalogue of

     gcc -O2 -fPIC -fpatchable-function-entry=16,14 -shared -nostdlib -Wl,--build-id=sha1 -Wl,-soname,libsmall.so.1 \
         -o libsmall.so.1 target.c  */

static int counter, limit = 10;
static __thread int depth;

__attribute__((noinline)) static void hidden(void) { depth = 0; limit++; }
int next(void) { depth++; return ++counter > limit ? 0 : counter; }
void reset(void) { counter = 0; hidden(); }
