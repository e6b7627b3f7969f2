# Writes OUTPUT with MC_PROXY_VERSION; touches the file only when the text changed. A checkout without git gets the bare version.
# Git refuses to look at a tree that belongs to somebody else (a build as root of a user's checkout) unless it is told that this is meant.

if(GIVEN)
    file(CONFIGURE OUTPUT ${OUTPUT} CONTENT "#define MC_PROXY_VERSION \"${GIVEN}\"\n" @ONLY)
    return()
endif()
execute_process(COMMAND git --no-optional-locks -c safe.directory=${SOURCE_DIR} describe --always --dirty --abbrev=10 --exclude=*
    WORKING_DIRECTORY ${SOURCE_DIR} OUTPUT_VARIABLE commit ERROR_QUIET OUTPUT_STRIP_TRAILING_WHITESPACE
    RESULT_VARIABLE status)
set(version "${BASE}")
if(status EQUAL 0 AND commit)
    set(version "${BASE}+g${commit}")
endif()
file(CONFIGURE OUTPUT ${OUTPUT} CONTENT "#define MC_PROXY_VERSION \"${version}\"\n" @ONLY)
