/* What is left of libpthread.so.0, libdl.so.2 and librt.so.1 from 2.34 on: files that old programs name, with no
   function in them.  */
const int __gone_version_placeholder = 0;
