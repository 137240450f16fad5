#bench_kernels-- list names a case for every launcher of kernels / cuda*.h.
cmake_minimum_required(VERSION 3.22)
    execute_process(COMMAND $ { PROGRAM } --list OUTPUT_VARIABLE listed RESULT_VARIABLE status) if (NOT status EQUAL 0)
        message(FATAL_ERROR "${PROGRAM} --list ended with ${status}") endif() string(REGEX MATCHALL "[^\n]+" lines "${listed}")
            list(TRANSFORM lines REPLACE
                 " .*"
                 "") file(GLOB headers ${KERNELS} / cuda *.h) set(launchers "") foreach (header ${headers}) file(READ ${header} text)
                string(REGEX MATCHALL "cudaError_t [a-z_0-9]+\\(cudaStream_t" found "${text}") list(APPEND launchers ${found}) endforeach()
                    list(TRANSFORM launchers REPLACE
                         "cudaError_t ([a-z_0-9]+).*"
                         "\\1") list(REMOVE_DUPLICATES launchers) set(missing "")
                        foreach (launcher ${launchers}) if (NOT launcher IN_LIST lines) list(APPEND missing ${launcher}) endif()
                            endforeach() list(LENGTH launchers count) list(LENGTH lines cases) if (missing OR count LESS 60)
                                message(FATAL_ERROR "${count} launchers found; without a case in bench_kernels: ${missing}") endif()
                                    message("${count} launchers, ${cases} cases")
