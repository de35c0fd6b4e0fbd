internal import AttentionInspection
internal import PretrainedModels
internal import Synchronization

/// The sentences that were looked at last: a next question about one needs no forward pass.
final class InspectionShelf: Sendable {
    /// How many are kept.
    ///
    /// Their vectors take, with 30 layers, some megabytes per hundred tokens.
    private static let limit = 4

    private let kept = Mutex<[Inspection]>([])

    /// Returns a sentence as a model reads it.
    func inspection(of sentence: String, by model: LanguageModel) throws(InspectionError) -> Inspection {
        let known = kept.withLock { kept -> Inspection? in
            guard let index = kept.firstIndex(where: { $0.sentence == sentence && $0.model.path == model.path }) else {
                return nil
            }
            let inspection = kept.remove(at: index)
            kept.append(inspection)
            return inspection
        }
        if let known { return known }
        let inspection = try Inspection(of: sentence, by: model)
        kept.withLock {
            if $0.count >= Self.limit { $0.removeFirst() }
            $0.append(inspection)
        }
        return inspection
    }

    /// Forgets what a model read, since its file is another now.
    func forget(path: String) {
        kept.withLock { $0.removeAll { $0.model.path == path } }
    }
}
