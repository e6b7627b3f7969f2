# Compiler and linker options that every target of ours is built with.

set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON) # gnu17: statement expressions in CHECK, typeof, accept4, memfd_create
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
include(CheckPIESupported)
check_pie_supported()

if(NOT CMAKE_BUILD_TYPE)
    set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()

add_compile_definitions(_GNU_SOURCE)

add_compile_options(
    -Wall -Wextra -Werror -Wshadow -Wundef -Wvla -Wpointer-arith -Wcast-qual -Wwrite-strings -Wformat=2
    -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition -Wimplicit-fallthrough -Wdouble-promotion
    -Wconversion -Wno-sign-conversion # narrowing is an error; signed/unsigned mixes of one width are everywhere in the socket API
    -fno-strict-aliasing # libev watchers and shared-memory records are reached through pointers of several types
    -fno-common -g)

if(CMAKE_BUILD_TYPE STREQUAL "Release")
    add_compile_options(-fstack-protector-strong -fstack-clash-protection -fcf-protection -U_FORTIFY_SOURCE
                        -D_FORTIFY_SOURCE=2)
    add_link_options(-Wl,-z,relro,-z,now -Wl,-z,noexecstack)
endif()

if(MCPROXY_SANITIZE OR MCPROXY_FUZZ)
    add_compile_options(-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
    add_link_options(-fsanitize=address,undefined)
    add_compile_definitions(MCPROXY_SANITIZED=1)
endif()
if(MCPROXY_FUZZ)
    add_compile_options(-fsanitize=fuzzer-no-link)
endif()
if(MCPROXY_TSAN)
    # It does not model fences and says so. Those of the shared tables only add to what acquire and release already order: they
    # can hide nothing from it, nor make it see what is not there.
    add_compile_options(-fsanitize=thread -fno-omit-frame-pointer)
    if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
        add_compile_options(-Wno-tsan)
    endif()
    add_link_options(-fsanitize=thread)
    add_compile_definitions(MCPROXY_SANITIZED=1)
endif()
if(MCPROXY_COVERAGE)
    add_compile_options(--coverage -O0 -fprofile-update=atomic) # some tests have threads
    add_link_options(--coverage)
endif()
