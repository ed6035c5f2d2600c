"""Word lists for what the package does not hold: people's names and where they live."""

_FIRST = (
    "Aaron Abigail Adele Alan Alice Amara Amir Andrea Anita Anton Beatrice Bela Ben Bianca Boris "
    "Bruno Camille Carlos Carmen Cecilia Celia Cesar Chloe Clara Claude Cora Cyril Daisy Dalia "
    "Damian Daniel Daria David Delia Derek Diana Diego Dora Edgar Edith Elena Elias Ella Elmer "
    "Elsa Emil Emma Enzo Erica Ernest Esther Eva Ezra Felix Fiona Flora Frank Freya Gabriel Gemma "
    "George Gina Grace Greta Hanna Harold Hazel Hector Helen Hugo Ian Ida Igor Inez Irene Iris "
    "Isaac Ivan Jack Jade James Janet Jason Joan Joel Jonas Josef Judith Julia Karen Karl Kira "
    "Lara Laura Leila Leo Leon Lidia Lena Linus Louis Lucia Luke Mabel Magda Malik Marco Maria "
    "Marta Max Maya Mei Milo Mina Mira Nadia Naomi Nina Noah Nora Olga Oliver Omar Oscar Otto "
    "Paul Peter Petra Philip Quinn Rafael Rita Robin Rosa Ruth Sam Sara Sofia Simon Stella Tara "
    "Theo Tina Tom Ulla Uma Vera Victor Wanda Will Xenia Yara Yusuf Zara Zoe"
)
FIRST_NAMES = _FIRST.split()

_LAST = (
    "Abbott Acosta Adler Ahmed Alvarez Anders Archer Ashby Bailey Baker Banks Barnes Becker "
    "Bennett Berger Bishop Blake Bond Bowen Brandt Brooks Burke Calder Campos Carver Castro "
    "Chan Chavez Clay Cole Conrad Cooper Costa Craig Cruz Dalton Daniels Delgado Diaz Dixon Doyle "
    "Drake Duarte Dunn Eaton Ellis Engel Erikson Fabian Farrell Ferris Fischer Fletcher Flynn "
    "Foster Fox Franco Frost Fuchs Gallo Garner Gibson Glover Gomez Grant Graves Griffin Haas "
    "Hale Harper Hayes Herrera Hicks Hoffman Holt Hughes Hunt Ibrahim Ingram Ivanov Jansen Jensen "
    "Jordan Joyce Kane Kaplan Keller Kemp Khan Kim Klein Knox Kowalski Kramer Lambert Lane Larsen "
    "Lawson Lee Lehmann Lopez Lowe Lund Lynch Madsen Marsh Martin Mason Mendez Meyer Miles Moran "
    "Moss Murphy Nash Navarro Neumann Nguyen Nolan Norris Novak Ochoa Olsen Ortega Owens Palmer "
    "Park Patel Pereira Perry Petrov Pierce Porter Price Quintana Ramos Reed Reyes Rhodes Rivera "
    "Rossi Rowe Russo Salazar Sanders Santos Schmidt Schwartz Shah Sharp Silva Singh Snyder Soto "
    "Stein Stone Suzuki Tanaka Tate Torres Tran Turner Vance Vargas Vega Vogel Wagner Walsh Ward "
    "Weber Wells West Wolfe Wong Yates York Young Zimmer"
)
LAST_NAMES = _LAST.split()

# City and its telephone area.
CITIES = (
    ("Ashford", 210), ("Birchwood", 214), ("Brookhaven", 229), ("Cedar Falls", 231),
    ("Clearwater", 240), ("Cold Spring", 252), ("Eastbrook", 267), ("Elm Grove", 276),
    ("Fairview", 301), ("Fox Hollow", 309), ("Glenwood", 319), ("Granite Bay", 325),
    ("Greenfield", 331), ("Harbor Point", 346), ("Hillcrest", 360), ("Kingsport", 364),
    ("Lakeview", 385), ("Linden", 402), ("Maple Ridge", 409), ("Meadowbrook", 417),
    ("Millbrook", 423), ("Northfield", 430), ("Oakdale", 443), ("Pine Bluff", 458),
    ("Riverton", 470), ("Rockport", 478), ("Silver Lake", 502), ("Southgate", 512),
    ("Stonebridge", 530), ("Summit", 541), ("Westbury", 559), ("Willow Creek", 571),
)  # fmt: skip
