internal import ModelFiles

/// What Transformers computes for a sentence with all-MiniLM-L6-v2.
package struct ReferenceSentence: Sendable, CustomStringConvertible {
    /// The file's name.
    package let name: String
    /// The sentence.
    package let text: String
    /// `[T]`, with the tokens around the sentence, at most 256.
    package let tokenIDs: [Int32]
    /// The mean of all tokens' vectors, of length 1.
    package let embedding: [Float]
    /// `[T, M]`; empty for long sentences.
    package let lastHiddenStates: [Float]
    /// `[layer, head, query, key]`; empty for long sentences.
    package let attentionWeights: [Float]

    package var description: String { name }

    /// All sentences of the folder of reference results, at least one.
    package static func all() throws -> [ReferenceSentence] {
        try referenceFiles(in: "minilm").map { try ReferenceSentence(path: $0.path, name: $0.name) }
    }

    private init(path: String, name: String) throws {
        let file = try SafetensorsFile(path: path)
        func elementsIfThere(_ tensorName: String) throws -> [Float] {
            file.tensor(named: tensorName) == nil ? [] : try file.elements(of: tensorName, as: Float.self)
        }
        self.name = name
        text = try file.requireMetadata("text")
        tokenIDs = try file.tokens(of: "token_ids")
        embedding = try file.elements(of: "embedding", as: Float.self)
        lastHiddenStates = try elementsIfThere("last_hidden_state")
        attentionWeights = try elementsIfThere("attention_weights")
    }
}
