internal import ModelFiles

/// What Transformers computes for a prompt, from the weights of SmolLM2's GGUF file.
package struct ReferencePrompt: Sendable, CustomStringConvertible {
    /// The file's name.
    package let name: String
    /// The prompt; special tokens in it count.
    package let text: String
    /// `[T]`.
    package let tokenIDs: [Int32]
    /// After the last token, `[V]`.
    package let lastLogits: [Float]
    /// `[layer, head, query, key]`.
    package let attentionWeights: [Float]
    /// The extents of ``attentionWeights``.
    package let attentionShape: [Int]
    /// The prompt and its most likely continuation.
    package let greedyIDs: [Int32]
    /// The ten most likely tokens after each token, `[T, 10]`.
    package let topIDs: [Int32]
    /// Their logits, `[T, 10]`.
    package let topLogits: [Float]

    package var description: String { name }

    /// All prompts of the folder of reference results, at least one.
    package static func all() throws -> [ReferencePrompt] {
        let files = try referenceFiles(in: "smollm2").filter { $0.name.hasPrefix("prompt-") }
        guard !files.isEmpty else { throw MissingReference(what: "prompt-*.safetensors among the reference results") }
        return try files.map { try ReferencePrompt(path: $0.path, name: $0.name) }
    }

    private init(path: String, name: String) throws {
        let file = try SafetensorsFile(path: path)
        self.name = name
        text = try file.requireMetadata("text")
        tokenIDs = try file.tokens(of: "token_ids")
        lastLogits = try file.elements(of: "last_logits", as: Float.self)
        attentionWeights = try file.elements(of: "attention_weights", as: Float.self)
        attentionShape = try file.requireTensor(named: "attention_weights").shape
        greedyIDs = try file.tokens(of: "greedy_ids")
        topIDs = try file.tokens(of: "top_ids")
        topLogits = try file.elements(of: "top_logits", as: Float.self)
    }
}
