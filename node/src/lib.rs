//! usurper-node
