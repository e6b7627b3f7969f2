# Run by `cmake --install`: files that depend on where everything goes, and the one that must never be overwritten.
# SOURCE, BINDIR, DOCDIR and SYSTEMD_DIR come from CMakeLists.txt; the last three may be relative to the prefix.

foreach(dir BINDIR DOCDIR SYSTEMD_DIR)
    cmake_path(ABSOLUTE_PATH ${dir} BASE_DIRECTORY "${CMAKE_INSTALL_PREFIX}")
endforeach()

# Units name the program by its full path: /usr/bin in the source, the place of this installation when installed.
foreach(unit mc-proxy.service mc-proxy.socket mc-proxy-backup.service mc-proxy-backup.timer)
    file(READ ${SOURCE}/systemd/${unit} text)
    string(REPLACE "/usr/bin/mc-proxy" "${BINDIR}/mc-proxy" text "${text}")
    string(REPLACE "/usr/share/doc/mc-proxy" "${DOCDIR}" text "${text}")
    message(STATUS "Installing: $ENV{DESTDIR}${SYSTEMD_DIR}/system/${unit}")
    file(CONFIGURE OUTPUT $ENV{DESTDIR}${SYSTEMD_DIR}/system/${unit} CONTENT "${text}" @ONLY)
endforeach()

# /etc also for /usr/local: that is where the units look.
if(NOT EXISTS $ENV{DESTDIR}/etc/mc-proxy/mc-proxy.ini)
    file(INSTALL ${SOURCE}/mc-proxy.ini DESTINATION /etc/mc-proxy) # puts DESTDIR before it
endif()
