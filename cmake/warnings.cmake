# The flags of our own code, as one interface target. -Werror only where TFCC_WERROR asks for it (the
# presets do): those who build a release with another compiler are not stopped by a new warning.
option(TFCC_WERROR "treat warnings as errors" OFF)
add_library(tfcc_flags INTERFACE)
target_compile_options(tfcc_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wundef
  $<$<BOOL:${TFCC_WERROR}>:-Werror>)
target_compile_definitions(tfcc_flags INTERFACE _POSIX_C_SOURCE=200809L)

# One library per folder. Headers are included as "folder/file.h"; a folder sees only what it links.
# tfcc_library(NAME FOLDER links...)
function(tfcc_library name folder)
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.c)
  add_library(${name} STATIC ${sources})
  set(view ${CMAKE_BINARY_DIR}/include/${folder})
  file(MAKE_DIRECTORY ${view})
  if(NOT EXISTS ${view}/${folder})
    file(CREATE_LINK ${CMAKE_CURRENT_SOURCE_DIR} ${view}/${folder} SYMBOLIC)
  endif()
  target_include_directories(${name} PUBLIC ${view})
  target_link_libraries(${name} PUBLIC ${ARGN} PRIVATE tfcc_flags)
endfunction()
