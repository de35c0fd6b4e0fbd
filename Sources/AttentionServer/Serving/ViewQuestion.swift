internal import AttentionInspection
internal import Foundation
internal import HTTPTypes
internal import PretrainedModels
internal import SequenceModels

/// What the page asks to see: its state, by the names that its address has.
///
/// The target may be a word's text as well; the answer has its position.
struct ViewQuestion: Decodable, Sendable {
    let state: [String: String]

    /// What is shown.
    struct Answer: Encodable {
        struct Model: Encodable {
            let name: String
            let layers: Int
            let heads: Int
        }

        struct Table: Encodable {
            let title: String
            let columns: [String]
            let rows: [[String]]
        }

        let model: Model
        let words: [String]
        let target: Int
        let svg: String
        let table: Table
        let caption: String
        let notes: [String]
        let command: String
    }

    /// The state, and the sentence as its model reads it.
    func opened(from shelf: ModelShelf) throws -> (state: ViewState, inspection: Inspection) {
        var query = state
        let target = query.removeValue(forKey: "target")
        var state = try ViewState(query: query)
        let inspection = try shelf.inspection(of: state.sentence, by: try shelf.model(state.model))
        if let target {
            state.target = try Int(target) ?? inspection.position(of: .word(target), unit: state.unit)
        }
        return (state, inspection)
    }

    func answer(from shelf: ModelShelf) throws -> Answer {
        let (state, inspection) = try opened(from: shelf)
        let view = try inspection.render(state)
        let model = inspection.model
        let configuration = model.transformer?.configuration
        return Answer(
            model: .init(
                name: model.name, layers: configuration?.layerCount ?? 0, heads: configuration?.headCount ?? 0),
            words: inspection.texts(unit: state.unit),
            target: try state.target ?? inspection.position(of: .last, unit: state.unit), svg: view.svg,
            table: .init(title: view.table.title, columns: view.table.columns, rows: view.table.rows),
            caption: view.caption, notes: view.notes, command: view.state.command)
    }
}

extension ViewQuestion {
    /// All heads, small.
    struct Grid: Encodable {
        let layers: Int
        let heads: Int
        /// How many cells a thumbnail has each way.
        let size: Int
        /// `[layer][head][from][to]`, from 0 to 255, in Base64.
        let shades: String
        let badges: [Badge]
    }

    struct Badge: Encodable {
        let role: String?
        let score: Double?
        let threshold: Double?
        let metric: String?
    }

    func grid(from shelf: ModelShelf) throws -> Grid {
        let (state, inspection) = try opened(from: shelf)
        let thumbnails = try inspection.thumbnails(unit: state.unit, scale: state.scale)
        return Grid(
            layers: thumbnails.layerCount, heads: thumbnails.headCount, size: thumbnails.size,
            shades: Data(thumbnails.bytes).base64EncodedString(),
            badges: thumbnails.badges.map {
                Badge(role: $0.role?.rawValue, score: $0.score, threshold: $0.role?.threshold, metric: $0.role?.metric)
            })
    }

    /// The weights of one head, or of a mean, `[from][to]` as float32, the lowest byte first.
    func weights(from shelf: ModelShelf) throws -> [UInt8] {
        let (state, inspection) = try opened(from: shelf)
        let weights = try inspection.weights(layer: state.layer, head: state.head, unit: state.unit).weights
        return [UInt8](unsafeUninitializedCapacity: 4 * weights.count) { bytes, count in
            for (index, weight) in weights.enumerated() {
                let pattern = weight.bitPattern
                for byte in 0..<4 { bytes[4 * index + byte] = UInt8(truncatingIfNeeded: pattern >> (8 * byte)) }
            }
            count = 4 * weights.count
        }
    }
}

/// What the page asks to save: what the command writes for the same state.
struct ExportQuestion: Decodable, Sendable {
    enum Format: String, Decodable {
        case svg, html, json, csv

        var contentType: String {
            switch self {
            case .svg: "image/svg+xml; charset=utf-8"
            case .html: "text/html; charset=utf-8"
            case .json: "application/json; charset=utf-8"
            case .csv: "text/csv; charset=utf-8"
            }
        }
    }

    let state: [String: String]
    let format: Format

    func answer(from shelf: ModelShelf) throws -> String {
        let (state, inspection) = try ViewQuestion(state: state).opened(from: shelf)
        let view = try inspection.render(state)
        return switch format {
        case .svg: view.svg
        case .html: view.html()
        case .json: try view.json()
        case .csv: view.table.csv
        }
    }
}

extension RequestFailure {
    /// What cannot be looked at, as an answer to whoever asked for it.
    init(_ error: InspectionError) {
        var isIllFormed = false
        let place =
            switch error {
            case .targetNotFound, .ambiguousTarget, .noTargetInSource: "target"
            case .layerOutOfRange: "layer"
            case .headOutOfRange, .incompleteHead, .viewNeedsHead: "head"
            case .notFinite: "model"
            case .invalidState(let name, _, _):
                name
            default: "text"
            }
        if case .invalidState = error { isIllFormed = true }
        self.init(
            status: isIllFormed ? .badRequest : .unprocessableContent, what: error.description, place: place,
            advice: "Change the \(place == "text" ? "sentence" : place), and look again.")
    }
}
