# tfcc_add_model(TARGET MODEL model.json [WEIGHTS w.weights.h5] [COMPILE_CONFIG c.json] [OPTIONS ...])
#
# Makes executable TARGET out of a Keras model, like add_executable: it can be installed, linked with more and run by other
# targets. The model is compiled again only when it (or a file it names) or tfcc itself has changed.
function(tfcc_add_model target)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "MODEL;WEIGHTS;COMPILE_CONFIG" "OPTIONS")
  if(NOT arg_MODEL)
    message(FATAL_ERROR "tfcc_add_model(${target}): expected MODEL file, found none")
  endif()
  if(arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "tfcc_add_model(${target}): unknown arguments: ${arg_UNPARSED_ARGUMENTS}")
  endif()
  get_filename_component(model "${arg_MODEL}" ABSOLUTE)
  set(object "${CMAKE_CURRENT_BINARY_DIR}/${target}.model.o")
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
  add_custom_command(OUTPUT "${object}"
    COMMAND "${TFCC_COMPILER}" compile "${model}" -o "${object}" --emit obj -MD -MF "${object}.d" ${options}
    DEPENDS "${model}" ${files} "${TFCC_COMPILER}"
    DEPFILE "${object}.d"
    COMMENT "Compiling model ${target}" VERBATIM)
  add_executable(${target} "${object}")
  set_target_properties(${target} PROPERTIES LINKER_LANGUAGE C)
  target_link_libraries(${target} PRIVATE tfcc::runtime)
endfunction()
