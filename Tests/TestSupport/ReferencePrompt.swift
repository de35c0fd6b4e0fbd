internal import Foundation
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
        let folder = "\(TestEnvironment.conformanceFolder)/smollm2"
        let names = try FileManager.default.contentsOfDirectory(atPath: folder)
            .filter { $0.hasPrefix("prompt-") && $0.hasSuffix(".safetensors") }.sorted()
        guard !names.isEmpty else { throw MissingReference(what: "prompt-*.safetensors in '\(folder)'") }
        return try names.map { try ReferencePrompt(path: "\(folder)/\($0)", name: $0) }
    }

    private init(path: String, name: String) throws {
        let file = try SafetensorsFile(path: path)
        func elements<Element>(_ tensorName: String, _ type: Element.Type) throws -> [Element] {
            try file.requireTensor(named: tensorName).data.withUnsafeBytes { bytes in
                (0..<bytes.count / MemoryLayout<Element>.size).map {
                    bytes.loadUnaligned(fromByteOffset: $0 * MemoryLayout<Element>.size, as: type)
                }
            }
        }
        func identifiers(_ tensorName: String) throws -> [Int32] {
            try elements(tensorName, Int64.self).map { Int32($0) }
        }
        guard let text = file.metadataValue("text") else { throw MissingReference(what: "the text in '\(path)'") }
        self.name = name
        self.text = text
        tokenIDs = try identifiers("token_ids")
        lastLogits = try elements("last_logits", Float.self)
        attentionWeights = try elements("attention_weights", Float.self)
        attentionShape = try file.requireTensor(named: "attention_weights").shape
        greedyIDs = try identifiers("greedy_ids")
        topIDs = try identifiers("top_ids")
        topLogits = try elements("top_logits", Float.self)
    }

    private struct MissingReference: Error, CustomStringConvertible {
        let what: String
        var description: String { "There is no \(what)." }
    }
}
