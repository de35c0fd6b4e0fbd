internal import Attention
public import ModelFiles
public import SequenceModels

/// A model with its tokenizer: text in, predictions out.
public struct LanguageModel: Sendable {
    /// The file's name without its ending, which says which weights speak.
    public let name: String
    /// The file.
    public let path: String
    /// The model.
    public let transformer: Transformer
    /// How text becomes tokens and back.
    public let tokenizer: ByteLevelBPETokenizer

    /// Loads a model from a file, which stays mapped: weights are read when they are needed.
    ///
    /// - Parameter path: A GGUF file of the Llama family.
    /// - Throws: `PretrainedModelError` when the file is damaged, is of another family or contradicts itself.
    public init(path: String) throws(PretrainedModelError) {
        let file: GGUFFile
        do {
            file = try GGUFFile(path: path)
        } catch {
            throw .unreadableFile(error)
        }
        try self.init(file)
    }

    /// Loads a model from an opened file.
    ///
    /// - Parameter file: A GGUF file of the Llama family.
    /// - Throws: `PretrainedModelError` when the file is of another family or contradicts itself.
    public init(_ file: GGUFFile) throws(PretrainedModelError) {
        path = file.file.path
        let fileName = path.split(separator: "/").last.map(String.init) ?? path
        name = fileName.hasSuffix(".gguf") ? String(fileName.dropLast(5)) : fileName
        transformer = try Transformer(llama: file)
        do {
            tokenizer = try ByteLevelBPETokenizer(file)
        } catch {
            throw .unusableTokenizer(path: path, error)
        }
        guard tokenizer.vocabularySize == transformer.configuration.vocabularySize else {
            throw .invalidConfiguration(
                path: path, key: "the number of tokens", value: "\(tokenizer.vocabularySize)",
                wanted: "\(transformer.configuration.vocabularySize), as the embedding has")
        }
    }

    /// Returns the most likely continuation, token by token.
    ///
    /// - Parameters:
    ///   - tokens: What to continue, at least one.
    ///   - maximumCount: How many tokens to append at most.
    ///   - chunkLength: How many tokens of the prompt to feed at a time; the result does not depend on it beyond
    ///     rounding.
    /// - Returns: The new tokens; the last is the end token if the model said it.
    public func greedyContinuation(
        of tokens: [Int32], maximumCount: Int, chunkLength: Int = 512
    ) -> [Int32] {
        require(!tokens.isEmpty && chunkLength > 0, "There is nothing to continue, or pieces of \(chunkLength).")
        var state = transformer.initialState(capacity: tokens.count + maximumCount)
        var result: [Int32] = []
        var logits: Tensor?
        for start in stride(from: 0, to: tokens.count, by: chunkLength) {
            let chunk = tokens[start..<min(start + chunkLength, tokens.count)]
            logits = transformer.nextTokenLogits(after: [chunk.map(Int.init)], state: &state)
        }
        while result.count < maximumCount, let scores = logits?.floats {
            guard let best = scores.indices.max(by: { scores[$0] < scores[$1] }) else { break }
            result.append(Int32(best))
            if Int32(best) == tokenizer.endOfSequenceID { break }
            logits = result.count < maximumCount ? transformer.nextTokenLogits(after: [[best]], state: &state) : nil
        }
        return result
    }
}
