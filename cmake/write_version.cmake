# Writes OUTPUT with MC_PROXY_VERSION; touches the file only when the text changed. A checkout without git gets the bare version.

execute_process(COMMAND git describe --always --dirty --abbrev=10 --exclude=*
    WORKING_DIRECTORY ${SOURCE_DIR} OUTPUT_VARIABLE commit ERROR_QUIET OUTPUT_STRIP_TRAILING_WHITESPACE
    RESULT_VARIABLE status)
set(version "${BASE}")
if(status EQUAL 0 AND commit)
    set(version "${BASE}+g${commit}")
endif()
file(CONFIGURE OUTPUT ${OUTPUT} CONTENT "#define MC_PROXY_VERSION \"${version}\"\n" @ONLY)
