"""Rules on proof: the hash chain, Merkle trees and signed checkpoints."""
