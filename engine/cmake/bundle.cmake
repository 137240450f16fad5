# Runs ar's own script language: it is the one way to put archives together that keeps members of the same name apart.
execute_process(COMMAND ${AR} -M INPUT_FILE ${SCRIPT} RESULT_VARIABLE result ERROR_VARIABLE error)
if(result OR error)
  message(FATAL_ERROR "ar could not put the library together: ${error}")
endif()
