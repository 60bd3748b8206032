/* Loading by hand: libdl.so.2 up to 2.33, part of libc.so.6 since.  */
#include "standin.h"

STUB_NEW_IN_2_34 (dladdr)
STUB_NEW_IN_2_34 (dlclose)
STUB_NEW_IN_2_34 (dlerror)
STUB_NEW_IN_2_34 (dlopen)
STUB_NEW_IN_2_34 (dlsym)
