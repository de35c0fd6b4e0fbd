public import Foundation

/// Finds models: by path, by repository in the cache of Hugging Face's Python packages, or by name in this package's cache.
public struct ModelLocator: Sendable {
    /// The model that is used where none is named, and its file.
    public static let defaultModel = (name: "smollm2", fileName: "SmolLM2-135M-Instruct.Q4_1.gguf")
    /// The one command that fetches the default model, from the package's folder.
    public static let fetchCommand = "Scripts/fetch-model"

    /// Where fetched models are: `$XDG_CACHE_HOME/swift-attention/models`, or under `~/.cache`.
    public let modelsFolder: String
    /// Where Python's packages keep what they fetched.
    public let huggingFace: HuggingFaceCache

    /// Creates a locator for the user's caches.
    ///
    /// - Parameter environment: Where `XDG_CACHE_HOME`, `HOME` and the variables of ``HuggingFaceCache`` are looked up.
    public init(environment: [String: String] = ProcessInfo.processInfo.environment) {
        modelsFolder = UserFolder.cache.path(in: environment) + "/swift-attention/models"
        huggingFace = HuggingFaceCache(environment: environment)
    }

    /// Returns the path of a model's file or folder.
    ///
    /// - Parameter reference: A file, or a folder with one, or with a `config.json`; `owner/name`, `owner/name:file` or
    ///   `owner/name@revision`, looked for in ``huggingFace``; a name in the cache with or without `.gguf`; or `nil` for the
    ///   default model.
    /// - Returns: The path of a file or folder that exists.
    /// - Throws: ``PretrainedModelError/notFound(name:tried:fetchCommand:)`` with all that was tried,
    ///   ``PretrainedModelError/ambiguousFolder(path:candidates:)``, or ``PretrainedModelError/emptyName``.
    public func path(of reference: String?) throws(PretrainedModelError) -> String {
        let name = reference ?? Self.defaultModel.name
        if name.isEmpty { throw .emptyName }
        var candidates: [String] = reference.map { [$0] } ?? []
        if let repository = reference.flatMap(HuggingFaceCache.Reference.init) {
            candidates.append(huggingFace.path(of: repository))
        }
        if name == Self.defaultModel.name { candidates.append("\(modelsFolder)/\(Self.defaultModel.fileName)") }
        if reference != nil, Self.staysInside(name) {
            candidates += ["\(modelsFolder)/\(name)", "\(modelsFolder)/\(name).gguf"]
        }
        for candidate in candidates {
            var isFolder: ObjCBool = false
            guard FileManager.default.fileExists(atPath: candidate, isDirectory: &isFolder) else { continue }
            return isFolder.boolValue ? try modelFile(in: candidate) : candidate
        }
        throw .notFound(name: name, tried: candidates, fetchCommand: Self.fetchCommand)
    }

    /// Whether a name leads to no place outside a folder that it is put behind.
    private static func staysInside(_ name: String) -> Bool {
        !name.hasPrefix("/") && !name.utf8.contains(0)
            && !name.utf8.split(separator: UInt8(ascii: "/")).contains { $0.elementsEqual("..".utf8) }
    }

    private func modelFile(in folder: String) throws(PretrainedModelError) -> String {
        if ModelFolder.isOne(folder) { return folder }
        let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        let models = names.filter { $0.hasSuffix(".gguf") }.sorted()
        guard models.count == 1 else { throw .ambiguousFolder(path: folder, candidates: models) }
        return "\(folder)/\(models[0])"
    }
}
