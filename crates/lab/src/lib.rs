//! The built-in lab: services in their own namespaces and cgroups.
