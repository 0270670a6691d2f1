# What the packages here have in common: they are compiled against ROS 2 from wheels as well.

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()
# The installed libraries find each other without LD_LIBRARY_PATH: Python's extension lies in
# lib/pythonX.Y/site-packages/PACKAGE.
set(CMAKE_INSTALL_RPATH "$ORIGIN;$ORIGIN/../../..")

# ROS 2 wheels name Python's and NumPy's folders of the machine they were built on. CMake refuses
# imported targets with folders that do not exist; this build finds both folders by itself. Takes
# the packages that messages depend on.
function(drop_missing_folders)
  foreach(package ${ARGN})
    set(target ${package}::${package}__rosidl_generator_py)
    if(TARGET ${target})
      get_target_property(folders ${target} INTERFACE_INCLUDE_DIRECTORIES)
      set(existing_folders)
      foreach(folder IN LISTS folders)
        if(EXISTS "${folder}")
          list(APPEND existing_folders "${folder}")
        endif()
      endforeach()
      set_target_properties(
        ${target} PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${existing_folders}")
    endif()
  endforeach()
endfunction()

# The middleware opens these two by their bare names, which works wherever they are installed if
# they are loaded already: let the Python extension load them.
function(load_type_support)
  target_link_options(${PROJECT_NAME}__rosidl_generator_py PRIVATE -Wl,--no-as-needed)
  # (target_link_libraries has a keyword and a plain form that do not mix, and distributions differ.)
  set_property(TARGET ${PROJECT_NAME}__rosidl_generator_py APPEND PROPERTY LINK_LIBRARIES
    ${PROJECT_NAME}__rosidl_typesupport_fastrtps_c
    ${PROJECT_NAME}__rosidl_typesupport_introspection_c)
endfunction()
