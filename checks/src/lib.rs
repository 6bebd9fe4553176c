//! usurper-checks
