//! usurper-nemesis
