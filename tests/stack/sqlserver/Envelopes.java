import io.debezium.config.Configuration;
import io.debezium.connector.sqlserver.Lsn;
import io.debezium.connector.sqlserver.SqlServerConnectorConfig;
import io.debezium.connector.sqlserver.SqlServerOffsetContext;
import io.debezium.connector.sqlserver.SqlServerValueConverters;
import io.debezium.connector.sqlserver.TxLogPosition;
import io.debezium.data.Envelope;
import io.debezium.pipeline.txmetadata.TransactionStructMaker;
import io.debezium.relational.Column;
import io.debezium.relational.CustomConverterRegistry;
import io.debezium.relational.Table;
import io.debezium.relational.TableEditor;
import io.debezium.relational.TableId;
import io.debezium.relational.TableSchema;
import io.debezium.relational.TableSchemaBuilder;
import io.debezium.relational.mapping.ColumnMappers;
import io.debezium.schema.FieldNameSelector;
import io.debezium.schema.SchemaTopicNamingStrategy;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Timestamp;
import java.sql.Types;
import java.time.Instant;
import java.time.LocalDateTime;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TimeZone;
import microsoft.sql.DateTimeOffset;
import org.apache.kafka.connect.data.Schema;
import org.apache.kafka.connect.data.Struct;
import org.apache.kafka.connect.json.JsonConverter;

/**
 * Prints what the connector for SQL Server sends of a table, by the connector's own classes, from
 * the values that its driver reads: one message a line, `key TAB payload`. It is told the
 * connector's file, as properties, and whether messages carry their schema.
 */
public final class Envelopes {
  private static final TableId SALE = new TableId("shop", "dbo", "Sale");
  private static final Instant COMMITTED = Instant.parse("2024-03-01T10:20:30.123Z");
  private static final Instant READ = Instant.parse("2024-03-01T10:20:31Z");

  private final List<Column> columns = new ArrayList<>();
  private final SqlServerConnectorConfig config;
  private final JsonConverter keys = new JsonConverter();
  private final JsonConverter values = new JsonConverter();
  private final TableSchema schema;
  private final SqlServerOffsetContext offset;
  private final TransactionStructMaker transactions;

  private Envelopes(Map<String, String> properties, boolean withSchemas) {
    config = new SqlServerConnectorConfig(Configuration.from(properties));
    keys.configure(Map.of("schemas.enable", String.valueOf(withSchemas)), true);
    values.configure(Map.of("schemas.enable", String.valueOf(withSchemas)), false);
    column("SaleId", Types.BIGINT, "bigint", 19, 0, false);
    column("Amount", Types.DECIMAL, "money", 19, 4, true);
    column("Rate", Types.DECIMAL, "decimal", 18, 6, true);
    column("Weight", Types.DOUBLE, "float", 53, null, true);
    column("Pieces", Types.TINYINT, "tinyint", 3, 0, true);
    column("IsPaid", Types.BIT, "bit", 1, null, true);
    column("Note", Types.NVARCHAR, "nvarchar", 200, null, true);
    column("SoldAt", Types.TIMESTAMP, "datetime2", 27, 7, true);
    column("BookedAt", Types.TIMESTAMP, "datetime", 23, 3, true);
    column("SentAt", microsoft.sql.Types.DATETIMEOFFSET, "datetimeoffset", 34, 7, true);
    column("DueOn", Types.DATE, "date", 10, 0, true);
    column("Hour", Types.TIME, "time", 16, 7, true);
    column("RowGuid", Types.CHAR, "uniqueidentifier", 36, null, true);
    column("Version", Types.BINARY, "timestamp", 8, null, true);
    column("Big", Types.LONGNVARCHAR, "nvarchar", Integer.MAX_VALUE, null, true);
    TableEditor editor = Table.editor().tableId(SALE).addColumns(columns);
    Table table = editor.setPrimaryKeyNames("SaleId").create();
    transactions = config.getTransactionMetadataFactory().getTransactionStructMaker();
    SqlServerValueConverters converters = new SqlServerValueConverters(
        config.getDecimalMode(), config.getTemporalPrecisionMode(), config.binaryHandlingMode());
    schema = new TableSchemaBuilder(
        converters, config.schemaNameAdjuster(), new CustomConverterRegistry(null),
        config.getSourceInfoStructMaker().schema(), transactions.getTransactionBlockSchema(),
        FieldNameSelector.defaultSelector(config.fieldNameAdjuster()), true,
        config.getEventConvertingFailureHandlingMode())
        .create(SchemaTopicNamingStrategy.create(config, true), table, null,
            ColumnMappers.create(config), null);
    offset = new SqlServerOffsetContext(config, TxLogPosition.NULL, null, true);
  }

  private void column(
      String name, int jdbc, String type, int length, Integer scale, boolean optional) {
    columns.add(Column.editor().name(name).position(columns.size() + 1).jdbcType(jdbc)
        .nativeType(jdbc).type(type, type).length(length).scale(scale).optional(optional).create());
  }

  private static Object[] row(long id, String amount, String note) {
    return new Object[] {
      id, new BigDecimal(amount), new BigDecimal("0.123456"), 1.5, (short) 200, true, note,
      Timestamp.valueOf(LocalDateTime.of(2024, 2, 29, 23, 59, 59, 123_456_700)),
      Timestamp.valueOf(LocalDateTime.of(2024, 2, 29, 12, 0, 0, 997_000_000)),
      DateTimeOffset.valueOf(
          Timestamp.from(Instant.parse("2024-02-29T22:00:00.5Z")), 120),
      java.sql.Date.valueOf("2024-02-29"), Timestamp.valueOf("1970-01-01 10:11:12.5"),
      "6F9619FF-8B86-D011-B42D-00C04FC964FF", new byte[] {0, 0, 0, 0, 0, 0, 7, (byte) 0xD1},
      "ünï \"quoted\"\nline",
    };
  }

  /** Moves to a position of the log: commit, change within it, number of the event within that. */
  private Struct at(String commit, String change, int event) {
    offset.setChangePosition(
        TxLogPosition.valueOf(Lsn.valueOf(commit), Lsn.valueOf(change)), event);
    offset.event(SALE, COMMITTED);
    if (!commit.equals(offset.getTransactionContext().getTransactionId())) {
      offset.getTransactionContext().beginTransaction(commit);
    }
    return offset.getSourceInfo();
  }

  private void print(Object[] row, Struct event) {
    long order = offset.getTransactionContext().event(SALE);
    Struct place = transactions.addTransactionBlock(offset, order, event);
    event.put(TransactionStructMaker.DEBEZIUM_TRANSACTION_KEY, place);
    Struct key = schema.keyFromColumnData(row);
    System.out.println(json(keys, schema.keySchema(), key) + "\t"
        + json(values, schema.getEnvelopeSchema().schema(), event));
  }

  private static String json(JsonConverter converter, Schema schema, Object value) {
    return new String(converter.fromConnectData("t", schema, value), StandardCharsets.UTF_8);
  }

  private void run() {
    Envelope envelope = schema.getEnvelopeSchema();
    Object[] first = row(1, "922337203685477.5807", "one");
    Object[] second = row(2, "-0.0001", "two");
    Object[] changed = row(1, "10.5000", "changed");
    Object[] empty = new Object[first.length];
    empty[0] = 3L;
    print(first, envelope.create(schema.valueFromColumnData(first),
        at("00000027:00000758:0005", "00000027:00000758:0003", 1), READ));
    print(second, envelope.create(schema.valueFromColumnData(second),
        at("00000027:00000758:0005", "00000027:00000758:0004", 1), READ));
    print(changed, envelope.update(schema.valueFromColumnData(first),
        schema.valueFromColumnData(changed),
        at("00000027:00000758:000a", "00000027:00000758:0009", 2), READ));
    print(empty, envelope.create(schema.valueFromColumnData(empty),
        at("00000028:00000010:0002", "00000028:00000010:0001", 1), READ));
    print(second, envelope.delete(schema.valueFromColumnData(second),
        at("00000100:00000001:0001", "00000100:00000001:0001", 1), READ));
  }

  public static void main(String[] arguments) throws Exception {
    TimeZone.setDefault(TimeZone.getTimeZone("UTC"));
    Properties told = new Properties();
    told.load(Files.newBufferedReader(Path.of(arguments[0])));
    Map<String, String> properties = new HashMap<>();
    told.forEach((name, value) -> properties.put(name.toString(), value.toString()));
    new Envelopes(properties, Boolean.parseBoolean(arguments[1])).run();
  }
}
