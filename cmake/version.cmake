# The version is the project's plus what git says of the commit, looked up again at every build so that it never lies.

# A package is built from an exported tree, which has no git: it says here what it is.
set(MCPROXY_VERSION "" CACHE STRING "The version to report; empty: the project's plus git's commit")

set(MCPROXY_GENERATED_DIR ${CMAKE_BINARY_DIR}/generated)
add_custom_target(mc-proxy-version
    COMMAND ${CMAKE_COMMAND} -DSOURCE_DIR=${CMAKE_SOURCE_DIR} -DBASE=${PROJECT_VERSION} -DGIVEN=${MCPROXY_VERSION}
            -DOUTPUT=${MCPROXY_GENERATED_DIR}/version_generated.h -P ${CMAKE_SOURCE_DIR}/cmake/write_version.cmake
    BYPRODUCTS ${MCPROXY_GENERATED_DIR}/version_generated.h
    COMMENT "" VERBATIM)
