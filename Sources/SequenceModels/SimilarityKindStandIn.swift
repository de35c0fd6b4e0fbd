public enum SimilarityKind: String, Sendable, Hashable, Codable, CaseIterable { case dot }
