public enum SimilarityKind: String, Sendable, CaseIterable { case dot }
