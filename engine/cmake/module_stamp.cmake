# Writes module_stamp.h: a stamp of what decides whether a module and a program understand each other. -DHEADERS=LIST (separated by |),
# -DFLAGS=TEXT, -DVERSION=TEXT, -DOUT=FILE.
string(REPLACE "|" ";" HEADERS "${HEADERS}")
set(all "${FLAGS}")
foreach(header ${HEADERS})
  file(SHA256 ${header} hash)
  string(APPEND all " ${hash}")
endforeach()
string(SHA256 stamp "${all}")
string(SUBSTRING "${stamp}" 0 12 stamp)
file(WRITE ${OUT}.new "// Made by engine/cmake/module_stamp.cmake.\n#pragma once\n\n#define ACTMATCH_MODULE_VERSION \"${VERSION}\"\n#define ACTMATCH_MODULE_STAMP \"${stamp}\"\n")
file(COPY_FILE ${OUT}.new ${OUT} ONLY_IF_DIFFERENT)
