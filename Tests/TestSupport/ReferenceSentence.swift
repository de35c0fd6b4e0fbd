internal import Foundation
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

    /// All sentences of the folder of reference results.
    package static func all() throws -> [ReferenceSentence] {
        let folder = "\(TestEnvironment.conformanceFolder)/minilm"
        return try FileManager.default.contentsOfDirectory(atPath: folder)
            .filter { $0.hasSuffix(".safetensors") }.sorted()
            .map { try ReferenceSentence(path: "\(folder)/\($0)", name: $0) }
    }

    private init(path: String, name: String) throws {
        let file = try SafetensorsFile(path: path)
        func elements<Element>(_ tensorName: String, _ type: Element.Type) -> [Element] {
            file.tensor(named: tensorName)?.data.withUnsafeBytes { bytes in
                (0..<bytes.count / MemoryLayout<Element>.size).map {
                    bytes.loadUnaligned(fromByteOffset: $0 * MemoryLayout<Element>.size, as: type)
                }
            } ?? []
        }
        self.name = name
        text = file.metadataValue("text") ?? ""
        tokenIDs = elements("token_ids", Int64.self).map { Int32($0) }
        embedding = elements("embedding", Float.self)
        lastHiddenStates = elements("last_hidden_state", Float.self)
        attentionWeights = elements("attention_weights", Float.self)
    }
}
