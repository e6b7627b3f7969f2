# The Debian packages we stand on. Each library has one home in the tree (see docs/architecture.md).

find_package(PkgConfig REQUIRED)
pkg_check_modules(SQLITE3 REQUIRED IMPORTED_TARGET sqlite3>=3.40)
pkg_check_modules(INIH REQUIRED IMPORTED_TARGET inih)
pkg_check_modules(MAXMINDDB REQUIRED IMPORTED_TARGET libmaxminddb)
pkg_check_modules(OPENSSL REQUIRED IMPORTED_TARGET openssl>=3.0)
pkg_check_modules(CARES REQUIRED IMPORTED_TARGET libcares)
pkg_check_modules(SECCOMP REQUIRED IMPORTED_TARGET libseccomp)
pkg_check_modules(NGHTTP2 REQUIRED IMPORTED_TARGET libnghttp2>=1.52)
pkg_check_modules(PROTOBUF_C REQUIRED IMPORTED_TARGET libprotobuf-c>=1.4)

find_program(PROTOC protoc REQUIRED)
find_program(PROTOC_C protoc-c REQUIRED)
find_path(PROTOBUF_INCLUDE_DIR google/protobuf/timestamp.proto REQUIRED) # libprotobuf-dev

find_path(EV_INCLUDE_DIR ev.h REQUIRED) # Debian's libev-dev ships no .pc file
find_library(EV_LIBRARY ev REQUIRED)
add_library(libev INTERFACE IMPORTED)
target_include_directories(libev SYSTEM INTERFACE ${EV_INCLUDE_DIR})
target_link_libraries(libev INTERFACE ${EV_LIBRARY})
