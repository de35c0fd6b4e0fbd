public import ModelFiles

/// A model that cannot be found or used.
public enum PretrainedModelError: Error, CustomStringConvertible {
    /// No file was found for the name; `tried` lists where it was looked for.
    case notFound(name: String, tried: [String], fetchCommand: String)
    /// The model's name is empty.
    case emptyName
    /// A folder holds no model file, or more than one.
    case ambiguousFolder(path: String, candidates: [String])
    /// The file is damaged or lacks something.
    case unreadableFile(GGUFError)
    /// A file of parameters is damaged or lacks something.
    case unreadableTensors(SafetensorsError)
    /// A model's folder is damaged or lacks something.
    case unreadableFolder(path: String, reason: String)
    /// The file's tokenizer cannot be used.
    case unusableTokenizer(path: String, TokenizerError)
    /// The file holds a model of another family.
    case unsupportedArchitecture(path: String, architecture: String, supported: [String])
    /// A number in the file's description of the model makes no sense.
    case invalidConfiguration(path: String, key: String, value: String, wanted: String)
    /// Something that the description asks for is not done here.
    case unsupportedFeature(path: String, key: String, value: String, supported: String)
    /// A tensor has other dimensions than the description says.
    case wrongShape(path: String, tensorName: String, found: [Int], wanted: [Int])
    /// The file's tensors are not those of the model.
    case wrongTensors(path: String, missing: [String], unexpected: [String])

    /// What went wrong, where, and what to try.
    public var description: String {
        switch self {
        case .notFound(let name, let tried, let fetchCommand):
            let places = tried.map { "  \($0)" }.joined(separator: "\n")
            return "There is no model '\(name)'. Looked for:\n\(places)\n"
                + "Name a model's file or folder, or one that 'attend models list' shows, or fetch SmolLM2 and MiniLM, from "
                + "this package's folder, with:\n  \(fetchCommand)"
        case .emptyName:
            return "The model's name is empty. Name a GGUF file, a folder with one, or a model in the cache."
        case .ambiguousFolder(let path, let candidates):
            return candidates.isEmpty
                ? "The folder '\(path)' holds no .gguf file. Name the model file itself."
                : "The folder '\(path)' holds \(candidates.count) models: \(candidates.joined(separator: ", ")). "
                    + "Name one of them."
        case .unreadableFile(let error): return error.description
        case .unreadableTensors(let error): return error.description
        case .unreadableFolder(let path, let reason): return "'\(path)' cannot be used: \(reason.withoutFullStop)."
        case .unusableTokenizer(let path, let error):
            return "The tokenizer in '\(path)' cannot be used: \(error)"
        case .unsupportedArchitecture(let path, let architecture, let supported):
            return "'\(path)' holds a model of the family '\(architecture)'; supported: "
                + "\(supported.joined(separator: ", ")). Use a model of one of these."
        case .invalidConfiguration(let path, let key, let value, let wanted):
            return "'\(path)' says \(key) = \(value), but \(wanted) is wanted. The file is damaged, or was converted "
                + "wrongly; fetch it again."
        case .unsupportedFeature(let path, let key, let value, let supported):
            return "'\(path)' asks for \(key) = \(value); supported: \(supported). Use another model."
        case .wrongShape(let path, let tensorName, let found, let wanted):
            return "The tensor '\(tensorName)' in '\(path)' has dimensions \(found), but the model needs \(wanted). "
                + "The file is damaged, or was converted wrongly; fetch it again."
        case .wrongTensors(let path, let missing, let unexpected):
            func list(_ names: [String]) -> String {
                names.prefix(8).joined(separator: ", ") + (names.count > 8 ? " and \(names.count - 8) more" : "")
            }
            let parts = [
                missing.isEmpty ? nil : "lacks \(list(missing))",
                unexpected.isEmpty ? nil : "holds \(list(unexpected)), which this model does not use",
            ].compactMap { $0 }
            return "'\(path)' \(parts.joined(separator: " and ")). Use a file of a supported model."
        }
    }
}

extension String {
    /// The text without the full stop that other errors' descriptions end with, to stand in a sentence.
    var withoutFullStop: String { hasSuffix(".") ? String(dropLast()) : self }
}
