internal import Attention
public import ModelFiles
public import SequenceModels

/// A model with its tokenizer: text in, predictions out.
public struct LanguageModel: Sendable {
    /// What it is called: the file's name without its ending, or the folder's, which says which weights speak.
    public let name: String
    /// The file or folder.
    public let path: String
    /// The model.
    public let model: any SequenceModel
    /// How text becomes tokens and back.
    public let tokenizer: any TextTokenizer
    /// How a text to continue is given to the model.
    public let prompting: Prompting

    /// What to tell whoever loaded it: checkpoints that were damaged, so that an older one was read.
    public let notes: [String]

    /// How a text to continue is given to a model.
    public enum Prompting: String, Sendable, Hashable, CaseIterable {
        /// As it is: the model learned running text.
        case text
        /// As a source whose target the model writes: it learned pairs.
        case pairs
    }

    /// The model as a Transformer, if it is one: what has heads to look at.
    public var transformer: Transformer? { model as? Transformer }

    init(
        name: String, path: String, model: any SequenceModel, tokenizer: any TextTokenizer, prompting: Prompting,
        notes: [String] = []
    ) {
        self.notes = notes
        self.name = name
        self.path = path
        self.model = model
        self.tokenizer = tokenizer
        self.prompting = prompting
    }

    /// Loads a model: a GGUF file of the Llama family, which stays mapped, so that weights are read when they are
    /// needed, or a folder that training wrote.
    ///
    /// - Parameter path: The file, or the folder.
    /// - Throws: `PretrainedModelError` when it is damaged, is of another family or contradicts itself.
    public init(path: String) throws(PretrainedModelError) {
        if ModelFolder.isOne(path) {
            self = try ModelFolder(path: path).load()
            return
        }
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
        let path = file.file.path
        let fileName = path.split(separator: "/").last.map(String.init) ?? path
        let transformer = try Transformer(llama: file)
        let tokenizer: ByteLevelBPETokenizer
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
        self.init(
            name: fileName.hasSuffix(".gguf") ? String(fileName.dropLast(5)) : fileName, path: path,
            model: transformer, tokenizer: tokenizer, prompting: .text)
    }
}
