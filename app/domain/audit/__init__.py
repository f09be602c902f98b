"""Rules on the audit log: the hash chain, Merkle trees and signed checkpoints."""
