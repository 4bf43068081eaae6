# tfcc_add_model(TARGET MODEL model.json [WEIGHTS w.weights.h5] [COMPILE_CONFIG c.json] [OPTIONS ...] [ALL])
#
# Makes target TARGET, which compiles a Keras model into the program ${CMAKE_CURRENT_BINARY_DIR}/TARGET. It is
# compiled again only when the model (or a file it names) or tfcc itself has changed. ALL: part of the default build.
# The program's path is the target's property TFCC_PROGRAM.
function(tfcc_add_model target)
  cmake_parse_arguments(PARSE_ARGV 1 arg "ALL" "MODEL;WEIGHTS;COMPILE_CONFIG" "OPTIONS")
  if(NOT arg_MODEL)
    message(FATAL_ERROR "tfcc_add_model(${target}): expected MODEL file, found none")
  endif()
  if(arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "tfcc_add_model(${target}): unknown arguments: ${arg_UNPARSED_ARGUMENTS}")
  endif()
  get_filename_component(model "${arg_MODEL}" ABSOLUTE)
  set(program "${CMAKE_CURRENT_BINARY_DIR}/${target}${CMAKE_EXECUTABLE_SUFFIX}")
  set(options ${arg_OPTIONS})
  foreach(pair "WEIGHTS;--weights" "COMPILE_CONFIG;--compile-config")
    list(GET pair 0 key)
    list(GET pair 1 flag)
    if(arg_${key})
      get_filename_component(file "${arg_${key}}" ABSOLUTE)
      list(APPEND options ${flag} "${file}")
      list(APPEND files "${file}")
    endif()
  endforeach()
  set(all)
  if(arg_ALL)
    set(all ALL)
  endif()
  add_custom_command(OUTPUT "${program}"
    COMMAND "${TFCC_COMPILER}" compile "${model}" -o "${program}" -MD -MF "${program}.d" ${options}
    DEPENDS "${model}" ${files} "${TFCC_COMPILER}"
    DEPFILE "${program}.d"
    COMMENT "Compiling model ${target}" VERBATIM)
  add_custom_target(${target} ${all} DEPENDS "${program}")
  set_target_properties(${target} PROPERTIES TFCC_PROGRAM "${program}")
endfunction()
