/* The container of TestPackGolden. libsmall_livepatch1.so was made of it by

     gcc -O2 -fPIC -fpatchable-function-entry=16,14 -shared -nostdlib -Wl,--build-id=sha1 \
         -Wl,-z,noseparate-code -Wl,-z,max-page-size=4096 -o libsmall_livepatch1.so livepatch.c

   and is kept, because its build-id and addresses are in the golden sections. */

int *ulpr_counter;
static int *volatile ulpr_limit;
struct { unsigned long module, offset; } ulpr_depth;
void *ulpr_hidden;

int next_lp(void) { return ++*ulpr_counter > *ulpr_limit ? 0 : *ulpr_counter; }
void reset_lp(void) { *ulpr_counter = 0; ((void (*)(void)) ulpr_hidden)(); }
