internal import Attention
internal import AttentionInspection
internal import Foundation
internal import HTTPTypes
internal import PretrainedModels
internal import Synchronization

/// The models that are loaded, each once, whoever asks.
///
/// Used by the thread of ``ComputeQueue`` alone, so that two requests never load the same model.
final class ModelShelf: Sendable {
    /// How many models stay loaded; the one that was not asked for longest goes first.
    private static let limit = 3

    private let locator: ModelLocator
    /// The model that is used where a request names none; `nil` is the locator's default.
    private let defaultReference: String?
    /// Whether a request may name any file that the server can read, and not only models in the cache.
    private let allowsPaths: Bool
    /// By path, the one used last at the end.
    private let loaded = Mutex<[(path: String, modified: Date?, model: LanguageModel)]>([])

    private let inspections = InspectionShelf()

    init(locator: ModelLocator, defaultReference: String?, allowsPaths: Bool) {
        self.locator = locator
        self.defaultReference = defaultReference
        self.allowsPaths = allowsPaths
    }

    /// Returns a model, loaded now if it was not before.
    ///
    /// - Parameter reference: What a request names, or `nil` for the default.
    /// - Returns: The model.
    /// - Throws: `RequestFailure` that says why it cannot be had, and what to do.
    func model(_ reference: String?) throws(RequestFailure) -> LanguageModel {
        if let reference, reference != defaultReference, !allowsPaths, reference.contains("/") {
            throw RequestFailure(
                status: .forbidden, what: "The model '\(reference)' is named by its path.", place: "model",
                advice: "A server that others reach opens only models in its cache; name one of them.")
        }
        do {
            let path = try locator.path(of: reference ?? defaultReference)
            let modified = (try? FileManager.default.attributesOfItem(atPath: path))?[.modificationDate] as? Date
            let known = loaded.withLock { loaded -> LanguageModel? in
                guard let index = loaded.firstIndex(where: { $0.path == path }) else { return nil }
                let entry = loaded.remove(at: index)
                // A file that was written anew is another model.
                guard entry.modified == modified else { return nil }
                loaded.append(entry)
                return entry.model
            }
            if let known { return known }
            inspections.forget(path: path)
            let model = try LanguageModel(path: path, arithmetic: .float32)
            loaded.withLock {
                if $0.count >= Self.limit { $0.removeFirst() }
                $0.append((path, modified, model))
            }
            return model
        } catch {
            throw RequestFailure(
                status: .unprocessableContent, what: error.description, place: "model",
                advice: "Choose another model, or mend this one and reload the page.")
        }
    }

    /// Returns a sentence as a model reads it, with what is known of it already.
    func inspection(of sentence: String, by model: LanguageModel) throws(InspectionError) -> Inspection {
        try inspections.inspection(of: sentence, by: model)
    }

    /// The names of the models in the cache, the default first.
    func names() -> [String] {
        let entries = (try? FileManager.default.contentsOfDirectory(atPath: locator.modelsFolder)) ?? []
        var names = entries.filter { (try? locator.path(of: $0)) != nil }
            .map { $0.hasSuffix(".gguf") ? String($0.dropLast(5)) : $0 }.sorted()
        let first = defaultReference ?? ModelLocator.defaultModel.name
        let fileName = String(ModelLocator.defaultModel.fileName.dropLast(5))
        names.removeAll { $0 == first || ($0 == fileName && first == ModelLocator.defaultModel.name) }
        return [first] + names
    }
}
